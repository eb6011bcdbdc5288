// Open chromatin: a peak file → its bins.

include { codeFingerprint } from './code'

// Bin one sample's peaks.
process BIN_PEAKS {
    tag "${sample}"
    label 'table'

    input:
    tuple val(sample), path(peaks), path(signal, arity: '0..*')
    path(chrom_sizes, stageAs: 'genome/*')
    path(exclude, arity: '0..*', stageAs: 'exclude?/*')
    val bin_bp
    val code

    output:
    path("${sample}.bins.npz", emit: bins)
    path("${sample}.peaks.tsv", emit: stats)
    path('task.json', topic: tasks)

    script:
    """
    bin_peaks.py \\
        --sample ${sample} \\
        --peaks ${peaks} ${signal.collect { path -> "--signal ${path}" }.join(' ')} \\
        --chrom-sizes ${chrom_sizes} ${exclude.collect { path -> "--exclude ${path}" }.join(' ')} \\
        --bin-bp ${bin_bp} \\
        --code ${code} \\
        --task-out task.json \\
        --stats-out ${sample}.peaks.tsv \\
        --out ${sample}.bins.npz
    """

    stub:
    """
    touch ${sample}.bins.npz ${sample}.peaks.tsv task.json
    """
}

workflow ACCESSIBILITY {
    take:
    peaks       // [K562_1, K562_1.narrowPeak.gz, [K562_1.bw] or []]
    chrom_sizes // one file, or nothing
    options     // {exclude: files, bin_bp}

    main:
    binned = BIN_PEAKS(peaks, chrom_sizes, options.exclude, options.bin_bp, codeFingerprint(['bin_peaks.py']))
    bins = binned.bins.map { file -> ['accessibility/bin', file] } // a key of the dataset and its file
    stats = binned.stats

    emit:
    bins
    stats
}
