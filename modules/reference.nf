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
    path(cage, arity: '0..*', stageAs: 'cage/*')
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
        --chrom-sizes ${chrom_sizes} ${genome.take(1).collect { path -> "--genome ${path}" }.join(' ')} ${cage.collect { path -> "--cage ${path}" }.join(' ')} \\
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

// Measure what the mRNA says of its half-life: eight features of each gene's representative transcript.
process HALFLIFE_FEATURES {
    label 'table'

    input:
    path(gtf, stageAs: 'input/*')
    path genome
    path genes
    val code

    output:
    path('halflife.tsv.gz', emit: halflife)
    path('task.json', topic: tasks)

    script:
    """
    halflife_features.py \\
        --gtf ${gtf} \\
        --genome ${genome[0]} \\
        --genes ${genes} \\
        --code ${code} \\
        --task-out task.json \\
        --out halflife.tsv.gz
    """

    stub:
    """
    touch halflife.tsv.gz task.json
    """
}

// Read ready promoters, a table or Xpresso's HDF5 files, and what else they hold.
process IMPORT_PROMOTERS {
    label 'table'

    input:
    path(promoters, arity: '1..*', stageAs: 'input/*')
    path(chroms, arity: '0..*', stageAs: 'tables?/*')
    tuple val(tss), val(label_unit)
    val code

    output:
    path('genes.tsv', emit: genes)
    path('tss.tsv', emit: tss)
    path('chrom.sizes', emit: chrom_sizes)
    path('promoters.fa.gz', emit: promoters)
    path('halflife.tsv.gz', emit: halflife, optional: true)
    path('labels.tsv.gz', emit: labels, optional: true)
    path('folds.tsv', emit: folds, optional: true)
    path('task.json', topic: tasks)

    script:
    """
    import_promoters.py \\
        --promoters ${promoters} \\
        --chroms ${chroms} ${tss.collect { base -> "--tss ${base}" }.join(' ')} \\
        --label-unit ${label_unit} \\
        --code ${code} \\
        --task-out task.json \\
        --out imported
    mv imported/* .
    """

    stub:
    """
    touch genes.tsv tss.tsv chrom.sizes promoters.fa.gz task.json
    """
}

// Read a published table of half-life features.
process IMPORT_HALFLIFE {
    label 'table'

    input:
    path(halflife, stageAs: 'input/*')
    val code

    output:
    path('halflife.tsv.gz', emit: halflife)
    path('task.json', topic: tasks)

    script:
    """
    import_halflife.py \\
        --halflife ${halflife} \\
        --code ${code} \\
        --task-out task.json \\
        --out halflife.tsv.gz
    """

    stub:
    """
    touch halflife.tsv.gz task.json
    """
}

// Read each gene's labels, of one table or several.
process IMPORT_LABELS {
    label 'table'

    input:
    path(labels, arity: '1..*', stageAs: 'input/*')
    tuple val(columns), val(unit)
    val code

    output:
    path('labels.tsv.gz', emit: labels)
    path('task.json', topic: tasks)

    script:
    """
    import_labels.py \\
        --labels ${labels} \\
        --columns '${columns}' \\
        --unit ${unit} \\
        --code ${code} \\
        --task-out task.json \\
        --out labels.tsv.gz
    """

    stub:
    """
    touch labels.tsv.gz task.json
    """
}

workflow REFERENCE {
    take:
    genes       // a GTF or a table of genes, or nothing
    fasta       // a genome, or nothing
    given_sizes // chromosome sizes where there is no genome, or nothing
    options     // {promoters, halflife, labels, cage, paralogs, fold_table: files or null; promoter_tss, label_columns, label_unit, assembly, upstream_bp, downstream_bp; computed: {halflife: true where a family reads it}}

    main:
    indexed = INDEX_GENOME(fasta, codeFingerprint(['index_genome.py']))
    chrom_sizes = given_sizes.mix(indexed.chrom_sizes).first() // one, for many tasks
    cage = options.cage ? [options.cage] : []
    made = MAKE_GENE_TABLE(genes, chrom_sizes, indexed.genome.ifEmpty([]), cage, options.assembly, codeFingerprint(['make_gene_table.py']))
    window = [options.upstream_bp, options.downstream_bp]
    cut = EXTRACT_PROMOTERS(indexed.genome, made.genes, made.tss, window, codeFingerprint(['extract_promoters.py']))
    annotation = genes.filter { _file -> options.computed.halflife && !options.halflife && !options.gene_table }
    computed = HALFLIFE_FEATURES(annotation, indexed.genome, made.genes, codeFingerprint(['halflife_features.py']))
    ready = IMPORT_PROMOTERS(
        channel.fromList(options.promoters ? [options.promoters] : []),
        [options.fold_table, options.halflife].findAll(),
        [options.promoter_tss == null ? [] : [options.promoter_tss], options.label_unit],
        codeFingerprint(['import_promoters.py']),
    )
    given_halflife = IMPORT_HALFLIFE(channel.fromList(options.halflife ? [options.halflife] : []), codeFingerprint(['import_halflife.py']))
    given_labels = IMPORT_LABELS(
        channel.fromList(options.labels ? [options.labels] : []),
        [options.label_columns ?: '', options.label_unit],
        codeFingerprint(['import_labels.py']),
    )
    gene_tables = made.genes.mix(ready.genes)
    tables = gene_tables.combine(made.tss.mix(ready.tss)).combine(chrom_sizes.mix(ready.chrom_sizes)) // [genes.tsv, tss.tsv, chrom.sizes]
    promoters = cut.promoters.mix(ready.promoters)
    halflife = given_halflife.halflife.mix(computed.halflife, ready.halflife.filter { _file -> !options.halflife })
    labels = given_labels.labels.mix(ready.labels.filter { _file -> !options.labels })
    known = options.paralogs ? [options.paralogs] : []
    compared = gene_tables.combine(promoters.toList().map { files -> [files] }) // [genes.tsv, [promoters.fa.gz] or []]
    alike = GROUP_PARALOGS(
        compared.filter { _genes, files -> files || known }.map { file, files -> [file, files, known] },
        codeFingerprint(['group_paralogs.py']),
    )
    transcripts = made.transcripts
    split = ready.folds
    genome = indexed.genome
    features = promoters.map { file -> ['promoters/sequence', file] } // keys of the dataset and their files
        .mix(halflife.map { file -> ['promoters/halflife', file] }, labels.map { file -> ['labels/value', file] })
        .mix(alike.groups.map { file -> ['genes/paralog_group', file] }, alike.pairs.map { file -> ['similarity/gene', file] })
    files = gene_tables.mix(made.tss, ready.tss, made.transcripts, indexed.chrom_sizes, ready.chrom_sizes, promoters, halflife, labels, alike.groups, alike.pairs)

    emit:
    genome // with its indexes
    chrom_sizes
    tables
    transcripts
    features
    split // a table of folds that came with the promoters
    files
}
