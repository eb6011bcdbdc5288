// Expression: reads → TPM by kallisto; those and the user's tables → one table of genes × samples in one unit.

include { codeFingerprint ; programVersion } from './code'

// Index the transcripts. Versions of kallisto do not read each other's index, so the version is an input.
process KALLISTO_INDEX {
    label 'kallisto'
    memory { (1.GB + 20.B * transcripts.sum { path -> path.size() * (path.name.endsWith('.gz') ? 5 : 1) }) * task.attempt }

    input:
    path(transcripts, arity: '1..*', stageAs: 'input?/*')
    path annotation
    val kallisto
    val code

    output:
    tuple(path('transcripts.idx'), path('targets.tsv'), path('strand_probe.npy'), emit: index)
    path('task.json', topic: tasks)

    script:
    """
    kallisto_index.py \\
        --transcripts ${transcripts} \\
        --annotation ${annotation} \\
        --code ${code} \\
        --task-out task.json \\
        --targets-out targets.tsv \\
        --probe-out strand_probe.npy \\
        --out transcripts.idx
    """

    stub:
    """
    touch transcripts.idx targets.tsv strand_probe.npy task.json
    """
}

// Quantify one sample's reads, all lanes together.
process KALLISTO_QUANT {
    tag "${sample}"
    label 'kallisto'
    memory { (1.GB + 3.B * index.size()) * task.attempt }

    input:
    tuple val(sample), val(strandedness), val(fragments), path(reads_1, arity: '1..*', stageAs: 'mate1_?/*'), path(reads_2, arity: '0..*', stageAs: 'mate2_?/*')
    tuple path(index), path(targets), path(probe)
    tuple val(bootstraps), val(min_mapped)
    val code

    output:
    path("${sample}", emit: abundance)
    path("${sample}.reads.tsv", emit: stats)
    path('task.json', topic: tasks)

    script:
    """
    kallisto_quant.py \\
        --sample ${sample} \\
        --reads-1 ${reads_1} ${reads_2 ? "--reads-2 ${reads_2}" : ''} \\
        --strandedness ${strandedness} ${fragments ? "--fragment-mean ${fragments.mean} --fragment-sd ${fragments.sd}" : ''} \\
        --index ${index} \\
        --targets ${targets} \\
        --probe ${probe} \\
        --bootstraps ${bootstraps} \\
        --min-mapped ${min_mapped} \\
        --cpus ${task.cpus} \\
        --code ${code} \\
        --task-out task.json \\
        --stats-out ${sample}.reads.tsv \\
        --out ${sample}
    """

    stub:
    """
    mkdir ${sample}
    touch ${sample}/abundance.tsv ${sample}.reads.tsv task.json
    """
}

// Join the samples' estimates, and add up each gene's transcripts.
process COLLECT_ABUNDANCES {
    label 'table'

    input:
    path(abundances, arity: '1..*')
    tuple path(_index), path(targets), path(_probe)
    val code

    output:
    path('gene_tpm.tsv.gz', emit: gene_tpm)
    path('transcript_tpm.tsv.gz', emit: transcript_tpm)
    path('*_{tpm,counts}.tsv.gz', emit: tables)
    path('task.json', topic: tasks)

    script:
    """
    collect_abundances.py \\
        --abundance ${abundances} \\
        --targets ${targets} \\
        --code ${code} \\
        --task-out task.json \\
        --transcript-tpm-out transcript_tpm.tsv.gz \\
        --transcript-counts-out transcript_counts.tsv.gz \\
        --gene-counts-out gene_counts.tsv.gz \\
        --out gene_tpm.tsv.gz
    """

    stub:
    """
    touch {gene,transcript}_{tpm,counts}.tsv.gz task.json
    """
}

// Join expression tables into one, in one unit.
process COLLECT_EXPRESSION {
    label 'table'

    input:
    path(tables, arity: '1..*', stageAs: 'input?/*')
    val unit
    path(column_genes, arity: '0..*', stageAs: 'columns/*')
    val duplicate_genes
    val admit_misaligned // join tables whose columns seem to be other genes
    path samples
    val some // of new samples, which are predicted, not all need a column
    val code

    output:
    path('expression.tsv.gz', emit: table)
    path('expression_stats.tsv', emit: stats)
    path('task.json', topic: tasks)

    script:
    """
    collect_expression.py \\
        --table ${tables} \\
        --unit ${unit} ${column_genes.collect { path -> "--column-genes ${path}" }.join(' ')} \\
        --duplicate-genes ${duplicate_genes} \\
        ${admit_misaligned ? '--admit-misaligned' : ''} \\
        --samples ${samples} ${some ? '--some' : ''} \\
        --code ${code} \\
        --task-out task.json \\
        --stats-out expression_stats.tsv \\
        --out expression.tsv.gz
    """

    stub:
    """
    touch expression.tsv.gz expression_stats.tsv task.json
    """
}

workflow EXPRESSION {
    take:
    reads            // [K562_1, reverse, {mean, sd}, [R1, …], [R2, …]]
    transcript_fasta // [cdna.fa.gz, ncrna.fa.gz], or nothing
    annotation       // transcripts.tsv: which gene a transcript is of
    tables           // the user's tables of genes × samples
    samples          // samples.tsv: whose columns are kept
    options          // {apply, expression_unit, expression_columns, duplicate_genes, admit_misaligned, bootstraps, min_mapped}

    main:
    made = KALLISTO_INDEX(transcript_fasta, annotation, programVersion('kallisto'), codeFingerprint(['kallisto_index.py']))
    index = made.index.first() // one, for many tasks
    quantified = KALLISTO_QUANT(reads, index, [options.bootstraps, options.min_mapped], codeFingerprint(['kallisto_quant.py']))
    abundances = quantified.abundance.toSortedList { a, b -> a.name <=> b.name }.filter { folders -> folders }
    collected = COLLECT_ABUNDANCES(abundances, index, codeFingerprint(['collect_abundances.py']))
    all_tables = tables.mix(collected.gene_tpm).toSortedList { a, b -> a.name <=> b.name ?: a.toString() <=> b.toString() }.filter { files -> files }
    columns = options.expression_columns ? [options.expression_columns] : []
    joined = COLLECT_EXPRESSION(all_tables, options.expression_unit, columns, options.duplicate_genes, options.admit_misaligned, samples, options.apply != null, codeFingerprint(['collect_expression.py']))
    matrices = joined.table.map { table -> ['expression/gene', table] } // a key of the dataset and its file
    files = joined.table.mix(joined.stats, collected.tables.flatten())
    stats = joined.stats
    transcripts = collected.transcript_tpm.combine(index.map { _index, targets, _probe -> targets })
    kallisto = quantified.abundance
    read_stats = quantified.stats

    emit:
    matrices
    transcripts // [transcript_tpm.tsv.gz, targets.tsv], the latter says which gene a transcript is of
    files
    stats
    kallisto
    read_stats
}
