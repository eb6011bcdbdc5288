// Where samples come from: the user's samplesheet and tables, or a simulation.

include { codeFingerprint } from './code'
include { readSamplesheet ; stopOn } from './samplesheet'

// Simulate a cohort: all that a user would give, and the truth. The samplesheet names the peaks beside it.
process SIMULATE_COHORT {
    label 'table'

    input:
    tuple val(samples), val(genes), val(reads), val(noise), val(seed)
    val code

    output:
    path('samples.csv', emit: sheet)
    path '{peaks,reads}'
    path('annotation.gtf.gz', emit: gtf)
    path('genome.fa.gz', emit: genome)
    path('cdna.fa.gz', emit: cdna)
    path('expression.tsv.gz', emit: expression)
    path('factors.tsv', emit: factors)
    path('landmarks.tsv', emit: landmarks)
    path('targets.tsv', emit: targets)
    path('{truth.tsv,promoters.tsv,splicing.tsv,oracle.tsv.gz,expression.tsv.gz,true_transcripts.tsv.gz}', emit: truth)
    path('task.json', topic: tasks)

    script:
    """
    simulate_cohort.py \\
        --samples ${samples} \\
        --genes ${genes} \\
        --reads ${reads} \\
        --noise ${noise} \\
        --seed ${seed} \\
        --cpus ${task.cpus} \\
        --code ${code} \\
        --task-out task.json \\
        --out cohort
    mv cohort/* .
    """

    stub:
    """
    mkdir peaks reads
    touch annotation.gtf.gz genome.fa.gz cdna.fa.gz expression.tsv.gz truth.tsv promoters.tsv splicing.tsv factors.tsv landmarks.tsv targets.tsv oracle.tsv.gz true_transcripts.tsv.gz task.json
    touch peaks/{S1,S2}.narrowPeak.gz reads/{S1,S2}_R{1,2}.fastq.gz
    printf 'sample,reads_1,reads_2,peaks\\n' > samples.csv
    printf '%s,reads/%s_R1.fastq.gz,reads/%s_R2.fastq.gz,peaks/%s.narrowPeak.gz\\n' S1 S1 S1 S1 S2 S2 S2 S2 >> samples.csv
    """
}

// Write the samples and their groups as a table. The rows are in the task's hash, the samplesheet is not: its order does not matter.
process WRITE_SAMPLE_TABLE {
    input:
    val rows

    output:
    path 'samples.tsv'

    exec:
    def lines = rows.collect { row -> groupColumns().collect { column -> row[column] }.join('\t') }
    task.workDir.resolve('samples.tsv').setText((["id\t${groupColumns().tail().join('\t')}"] + lines).join('\n') + '\n', 'UTF-8')
}

workflow SAMPLES {
    take:
    inputs     // {samples: rows, gtf or gene_table, fasta or chrom_sizes, transcript_fasta: files, expression: files, factors, landmarks, targets: a list each, or null}
    simulation // {simulate, simulate_samples, simulate_genes, simulate_reads, simulate_noise}
    seed

    main:
    sizes = [simulation.simulate_samples, simulation.simulate_genes, simulation.simulate_reads, simulation.simulate_noise, seed]
    cohort = SIMULATE_COHORT(channel.fromList(simulation.simulate ? [sizes] : []), codeFingerprint(['simulate_cohort.py']))
    rows = channel.fromList(inputs.samples).mix(cohort.sheet.flatMap { sheet -> samplesOf(sheet) })
    table = WRITE_SAMPLE_TABLE(rows.map { row -> row.subMap(groupColumns()) }.toSortedList { row -> row.sample }.filter { all -> all })
    reads = rows.filter { row -> row.reads_1 }.map { row -> [row.sample, row.strandedness ?: 'auto', fragmentsOf(row), row.reads_1, row.reads_2] }
    peaks = rows.filter { row -> row.peaks }.map { row -> [row.sample, row.peaks, given(row.signal)] }
    genes = channel.fromList(given(inputs.gtf ?: inputs.gene_table)).mix(cohort.gtf)
    fasta = channel.fromList(given(inputs.fasta)).mix(cohort.genome)
    chrom_sizes = channel.fromList(given(inputs.chrom_sizes))
    transcript_fasta = channel.fromList(given(inputs.transcript_fasta)).mix(cohort.cdna.filter { _file -> simulation.simulate_reads })
    tables = channel.fromList(inputs.expression ?: []).mix(cohort.expression.filter { _file -> !simulation.simulate_reads })
    factors = channel.fromList(given(inputs.factors)).mix(cohort.factors)
    landmarks = channel.fromList(given(inputs.landmarks)).mix(cohort.landmarks)
    targets = channel.fromList(given(inputs.targets)).mix(cohort.targets)
    lists = landmarks.map { file -> ['lists/landmark', file] }.mix(targets.map { file -> ['lists/target', file] })
    simulated_lists = cohort.factors.mix(cohort.landmarks, cohort.targets)
    truth = cohort.truth

    emit:
    table            // id, donor, biosample, replicate_group, batch
    reads            // [K562_1, reverse, {mean, sd}, [R1, …], [R2, …]]
    peaks            // [K562_1, K562_1.narrowPeak.gz, [K562_1.bw] or []]
    tables           // tables of genes × samples
    genes            // a GTF or a table of genes
    fasta            // the genome
    chrom_sizes      // where there is no genome
    transcript_fasta // cDNA
    factors          // a list of genes whose proteins splice
    lists            // [lists/landmark, landmarks.tsv]: genes that others are predicted from, and these
    simulated_lists  // those of a simulation; of its factors some act, some are decoys
    truth
}

// Return a list of the one value that may be absent.
def given(value) {
    value ? [value] : []
}

// Return the samples of a samplesheet that a task made.
def samplesOf(path) {
    def sheet = readSamplesheet(path)
    stopOn(sheet.problems)
    sheet.samples
}

// Return the mean and sd of fragments that single-end reads come with.
def fragmentsOf(row) {
    [mean: row.fragment_mean, sd: row.fragment_sd].findAll { _name, bp -> bp }
}

def groupColumns() {
    ['sample', 'donor', 'biosample', 'replicate_group', 'batch']
}
