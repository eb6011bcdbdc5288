// Where samples come from: the user's samplesheet and tables, or a simulation.

include { codeFingerprint } from './code'
include { readSamplesheet ; stopOn } from './parameters'

// Simulate a cohort: all that a user would give, and the truth. The samplesheet names the peaks beside it.
process SIMULATE_COHORT {
    label 'table'

    input:
    tuple val(samples), val(genes), val(noise), val(seed)
    val code

    output:
    path 'samples.csv', emit: sheet
    path 'peaks', emit: peaks
    path 'genes.tsv', emit: genes
    path 'chrom.sizes', emit: chrom_sizes
    path 'expression.tsv.gz', emit: expression
    path '{truth.tsv,oracle.tsv.gz}', emit: truth
    path 'versions.json', topic: versions

    script:
    """
    simulate_cohort.py \\
        --samples ${samples} \\
        --genes ${genes} \\
        --noise ${noise} \\
        --seed ${seed} \\
        --code ${code} \\
        --versions versions.json \\
        --out cohort
    mv cohort/* .
    """

    stub:
    """
    mkdir peaks
    touch chrom.sizes genes.tsv expression.tsv.gz truth.tsv oracle.tsv.gz versions.json peaks/{S1,S2}.narrowPeak.gz
    printf 'sample,peaks\\nS1,peaks/S1.narrowPeak.gz\\nS2,peaks/S2.narrowPeak.gz\\n' > samples.csv
    """
}

// Write the samples and their groups as a table. The rows are in the task's hash, the samplesheet is not: its order does not matter.
process WRITE_SAMPLE_TABLE {
    input:
    val rows

    output:
    path 'samples.tsv'

    exec:
    def columns = ['sample', 'donor', 'biosample', 'replicate_group', 'batch']
    def lines = rows.collect { row -> columns.collect { column -> row[column] }.join('\t') }
    task.workDir.resolve('samples.tsv').setText((["id\t${columns.tail().join('\t')}"] + lines).join('\n') + '\n', 'UTF-8')
}

workflow SAMPLES {
    take:
    inputs     // {samples: rows, gene_table, chrom_sizes, expression: files, expression_unit}
    simulation // {simulate, simulate_samples, simulate_genes, simulate_noise}
    seed

    main:
    sizes = [simulation.simulate_samples, simulation.simulate_genes, simulation.simulate_noise, seed]
    cohort = SIMULATE_COHORT(channel.fromList(simulation.simulate ? [sizes] : []), codeFingerprint(['simulate_cohort.py']))
    sheets = channel.fromList(given(inputs.samples)).mix(cohort.sheet.map { sheet -> rowsOf(sheet) }) // one list of rows
    table = WRITE_SAMPLE_TABLE(sheets.map { rows -> rows.collect { row -> row.findAll { column, _cell -> column != 'peaks' } } })
    peaks = sheets.flatMap { rows -> rows.collect { row -> [row.sample, row.peaks] } } // [K562_1, K562_1.narrowPeak.gz]
    tables = channel.fromList(given(inputs.expression)).map { files -> [inputs.expression_unit, files] }
    expression = tables.mix(cohort.expression.map { file -> ['tpm', [file]] }) // [tpm, [expression.tsv.gz]]
    gene_table = channel.fromList(given(inputs.gene_table)).mix(cohort.genes)
    chrom_sizes = channel.fromList(given(inputs.chrom_sizes)).mix(cohort.chrom_sizes).first() // one, for many tasks
    truth = cohort.truth

    emit:
    table
    peaks
    expression
    gene_table
    chrom_sizes
    truth
}

// Return a list of the one value that may be absent.
def given(value) {
    value ? [value] : []
}

// Return the rows of a samplesheet that a task made.
def rowsOf(path) {
    def sheet = readSamplesheet(path)
    stopOn(sheet.problems)
    sheet.rows
}
