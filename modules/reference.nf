// The genome, its genes and transcripts, and their promoters.

include { codeFingerprint } from './code'

// Index a genome, packed for random access, and measure its chromosomes.
process INDEX_GENOME {
    label 'table'

    input:
    path(fasta, stageAs: 'input/*')
    val code

    output:
    path('genome.fa.gz*', arity: '3', emit: genome) // the genome, .fai and .gzi
    path('chrom.sizes', emit: chrom_sizes)
    path('task.json', topic: tasks)

    script:
    """
    index_genome.py \\
        --fasta ${fasta} \\
        --code ${code} \\
        --task-out task.json \\
        --chrom-sizes-out chrom.sizes \\
        --out genome.fa.gz
    """

    stub:
    """
    touch genome.fa.gz genome.fa.gz.fai genome.fa.gz.gzi chrom.sizes task.json
    """
}

// Read a GTF, BED or TSV of genes: one row a gene, one a start site, one a transcript.
process MAKE_GENE_TABLE {
    label 'table'

    input:
    path(genes, stageAs: 'input/*')
    path(chrom_sizes, stageAs: 'genome/*')
    path(genome, arity: '0..*')
    val assembly
    val code

    output:
    path('genes.tsv', emit: genes)
    path('tss.tsv', emit: tss)
    path('transcripts.tsv', emit: transcripts)
    path('task.json', topic: tasks)

    script:
    """
    make_gene_table.py \\
        --genes ${genes} \\
        --chrom-sizes ${chrom_sizes} ${genome.take(1).collect { path -> "--genome ${path}" }.join(' ')} \\
        --assembly ${assembly} \\
        --code ${code} \\
        --task-out task.json \\
        --tss-out tss.tsv \\
        --transcripts-out transcripts.tsv \\
        --out genes.tsv
    """

    stub:
    """
    touch genes.tsv tss.tsv transcripts.tsv task.json
    """
}

// Cut each gene's promoter out of the genome.
process EXTRACT_PROMOTERS {
    label 'table'

    input:
    path genome
    path genes
    path tss
    tuple val(upstream_bp), val(downstream_bp)
    val code

    output:
    path('promoters.fa.gz', emit: promoters)
    path('task.json', topic: tasks)

    script:
    """
    extract_promoters.py \\
        --genome ${genome[0]} \\
        --genes ${genes} \\
        --tss ${tss} \\
        --upstream-bp ${upstream_bp} \\
        --downstream-bp ${downstream_bp} \\
        --code ${code} \\
        --task-out task.json \\
        --out promoters.fa.gz
    """

    stub:
    """
    touch promoters.fa.gz task.json
    """
}

// Find the genes that are alike: by a table of paralogs, by their promoters, or both.
process GROUP_PARALOGS {
    label 'table'

    input:
    tuple path(genes), path(promoters, arity: '0..*'), path(paralogs, arity: '0..*', stageAs: 'input/*')
    val code

    output:
    path('paralogs.tsv', emit: groups)
    path('similar_promoters.tsv', emit: pairs)
    path('task.json', topic: tasks)

    script:
    """
    group_paralogs.py \\
        --genes ${genes} ${promoters.collect { path -> "--promoters ${path}" }.join(' ')} ${paralogs.collect { path -> "--paralogs ${path}" }.join(' ')} \\
        --code ${code} \\
        --task-out task.json \\
        --similar-out similar_promoters.tsv \\
        --out paralogs.tsv
    """

    stub:
    """
    touch paralogs.tsv similar_promoters.tsv task.json
    """
}

workflow REFERENCE {
    take:
    genes       // a GTF or a table of genes, or nothing
    fasta       // a genome, or nothing
    given_sizes // chromosome sizes where there is no genome, or nothing
    options     // {assembly, upstream_bp, downstream_bp, paralogs: a table or null}

    main:
    indexed = INDEX_GENOME(fasta, codeFingerprint(['index_genome.py']))
    chrom_sizes = given_sizes.mix(indexed.chrom_sizes).first() // one, for many tasks
    made = MAKE_GENE_TABLE(genes, chrom_sizes, indexed.genome.ifEmpty([]), options.assembly, codeFingerprint(['make_gene_table.py']))
    window = [options.upstream_bp, options.downstream_bp]
    cut = EXTRACT_PROMOTERS(indexed.genome, made.genes, made.tss, window, codeFingerprint(['extract_promoters.py']))
    tables = made.genes.combine(made.tss).combine(chrom_sizes) // [genes.tsv, tss.tsv, chrom.sizes]
    known = options.paralogs ? [options.paralogs] : []
    compared = made.genes.combine(cut.promoters.toList().map { files -> [files] }) // [genes.tsv, [promoters.fa.gz] or []]
    alike = GROUP_PARALOGS(
        compared.filter { _genes, files -> files || known }.map { file, files -> [file, files, known] },
        codeFingerprint(['group_paralogs.py']),
    )
    transcripts = made.transcripts
    features = cut.promoters.map { file -> ['promoters/sequence', file] } // keys of the dataset and their files
        .mix(alike.groups.map { file -> ['genes/paralog_group', file] }, alike.pairs.map { file -> ['similarity/gene', file] })
    files = made.genes.mix(made.tss, made.transcripts, indexed.chrom_sizes, cut.promoters, alike.groups, alike.pairs)

    emit:
    chrom_sizes
    tables
    transcripts
    features
    files
}
