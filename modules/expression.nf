// Expression: the user's tables → one table of genes × samples in one unit.

include { codeFingerprint } from './code'

// Join expression tables into one, in one unit.
process COLLECT_EXPRESSION {
    label 'table'

    input:
    tuple val(unit), path(tables, arity: '1..*', stageAs: 'input?/*')
    path column_genes, arity: '0..*', stageAs: 'columns/*'
    val duplicate_genes
    val code

    output:
    path 'expression.tsv.gz', emit: table
    path 'expression_stats.tsv', emit: stats
    path 'versions.json', topic: versions

    script:
    """
    collect_expression.py \\
        --table ${tables} \\
        --unit ${unit} ${column_genes.collect { path -> "--column-genes ${path}" }.join(' ')} \\
        --duplicate-genes ${duplicate_genes} \\
        --code ${code} \\
        --versions versions.json \\
        --stats-out expression_stats.tsv \\
        --out expression.tsv.gz
    """

    stub:
    """
    touch expression.tsv.gz expression_stats.tsv versions.json
    """
}

workflow EXPRESSION {
    take:
    tables  // [tpm, [a.tsv, b.tsv]]
    options // {expression_columns, duplicate_genes}

    main:
    columns = options.expression_columns ? [options.expression_columns] : []
    expression = COLLECT_EXPRESSION(tables, columns, options.duplicate_genes, codeFingerprint(['collect_expression.py']))
    matrices = expression.table.map { table -> ['expression/gene', table] } // a key of the dataset and its file
    stats = expression.stats

    emit:
    matrices
    stats
}
