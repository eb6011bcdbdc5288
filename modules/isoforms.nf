// Transcripts and the factors that splice them: the user's, or kallisto's of the reads → tables of the dataset.

include { codeFingerprint } from './code'
include { quantifiedNames } from './samplesheet' // which includes nothing: the strict parser takes a module that does only once

// Read transcripts, what gene each is of, and the list of factors; a gene is the sum of its transcripts.
process IMPORT_TRANSCRIPTS {
    label 'table'

    input:
    tuple path(transcripts, arity: '1..*', stageAs: 'input?/*'), val(names), path(transcript_genes, arity: '0..*', stageAs: 'genes/*'), val(unit), path(sample_table, arity: '0..*', stageAs: 'samples/*'), val(groups), path(factors, stageAs: 'factors/*')
    val code

    output:
    tuple(path('genes.tsv'), path('tss.tsv'), path('chrom.sizes'), emit: reference)
    path('transcripts.h5', emit: transcripts)
    path('genes.h5', emit: levels)
    path('factors.tsv', emit: factors)
    path('samples.tsv', emit: samples)
    path('transcripts_without_gene.tsv', emit: without_gene)
    path('task.json', topic: tasks)

    script:
    def tables = ['transcript-genes': transcript_genes, 'sample-table': sample_table].collectMany { option, paths -> paths.collect { path -> "--${option} ${path}" } }
    """
    import_transcripts.py \\
        --transcripts ${transcripts} ${names ? "--names ${names.join(' ')}" : ''} ${tables.join(' ')} \\
        --factors ${factors} \\
        --unit ${unit} \\
        --groups '${groups}' \\
        --code ${code} \\
        --task-out task.json \\
        --out imported
    mv imported/* .
    """

    stub:
    """
    touch genes.tsv tss.tsv chrom.sizes transcripts.h5 genes.h5 factors.tsv samples.tsv transcripts_without_gene.tsv task.json
    """
}

workflow ISOFORMS {
    take:
    kallisto // [transcript_tpm.tsv.gz, targets.tsv] of reads, or nothing
    factors  // a list of genes, or nothing
    options  // {samples: rows, expression: files, transcripts: files, transcript_genes, matrix_unit, matrix_samples, matrix_groups; null where not given}

    main:
    alone = options.transcripts && !options.samples // else a samplesheet and an annotation say what samples and genes there are
    beside = [options.transcript_genes, options.matrix_samples].collect { file -> file ? [file] : [] }
    own = [options.transcripts, quantifiedNames(options.transcripts ?: []), beside[0], options.matrix_unit, beside[1], options.matrix_groups ?: '']
    ours = kallisto.map { transcripts, targets -> [[transcripts], [], [targets], 'tpm', [], ''] }
    imported = IMPORT_TRANSCRIPTS(
        channel.fromList(options.transcripts ? [own] : []).mix(ours).combine(factors), // [[K562_1/abundance.tsv, …], [K562_1, …], …, factors.txt]
        codeFingerprint(['import_transcripts.py']),
    )
    levels = imported.levels.filter { _file -> options.transcripts && !options.expression }
    tables = imported.transcripts.map { file -> ['expression/transcript', file] } // keys of the dataset and their files
        .mix(imported.factors.map { file -> ['lists/splicing_factor', file] }, levels.map { file -> ['expression/gene', file] })
    reference = imported.reference.filter { _files -> alone }
    samples = imported.samples.filter { _file -> alone }
    without_gene = imported.without_gene

    emit:
    tables
    reference // [genes.tsv, tss.tsv, chrom.sizes] where nothing else says what genes there are; nobody knows where they lie
    samples
    without_gene
}
