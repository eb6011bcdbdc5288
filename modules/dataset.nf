// The border between data and models: all tables joined by id, with folds, in one HDF5 file.

include { codeFingerprint } from './code'

// Join the tables into dataset.h5. A new source of tables is one more key: nothing changes here.
process ASSEMBLE_DATASET {
    label 'table'

    input:
    path samples
    tuple path(genes), path(tss), path(chrom_sizes, stageAs: 'genome/*')
    tuple val(keys), path(files, arity: '1..*')
    tuple val(hold_out), val(folds), val(gene_folds), val(group_by), val(seed)
    tuple val(min_detected), val(assembly), val(upstream_bp)
    val code

    output:
    path 'dataset.h5', emit: h5
    path 'lost_ids.tsv', emit: lost_ids
    path 'task.json', topic: tasks

    script:
    """
    assemble_dataset.py \\
        --samples ${samples} \\
        --chrom-sizes ${chrom_sizes} \\
        --genes ${genes} \\
        --tss ${tss} \\
        ${tableOptions(keys, files).join(' ')} \\
        --hold-out ${hold_out} \\
        --folds ${folds} \\
        --gene-folds ${gene_folds} \\
        --group-by ${group_by} \\
        --min-detected ${min_detected} \\
        --assembly ${assembly} \\
        --upstream-bp ${upstream_bp} \\
        --seed ${seed} \\
        --code ${code} \\
        --task-out task.json \\
        --lost-ids-out lost_ids.tsv \\
        --out dataset.h5
    """

    stub:
    """
    touch dataset.h5 lost_ids.tsv task.json
    """
}

// List the folds of a dataset: their number follows from its groups.
process LIST_FOLDS {
    label 'table'

    input:
    path dataset
    val code

    output:
    path 'folds.txt', emit: folds
    path 'task.json', topic: tasks

    script:
    """
    list_folds.py \\
        --dataset ${dataset} \\
        --code ${code} \\
        --task-out task.json \\
        --out folds.txt
    """

    stub:
    """
    printf '0\\n1\\n' > folds.txt
    touch task.json
    """
}

workflow DATASET {
    take:
    given     // a dataset made before, or null
    samples   // the sample table
    reference // [genes.tsv, tss.tsv, chrom.sizes]
    tables    // [accessibility/bin, K562_1.bins.npz]: a key of the dataset and its file
    options   // {hold_out, folds, gene_folds, group_by}
    checks    // {min_detected, assembly, upstream_bp}
    seed

    main:
    sorted = tables.toSortedList { a, b -> a[0] <=> b[0] ?: a[1].name <=> b[1].name }.filter { rows -> rows } // one list of all
    scheme = [options.hold_out, options.folds, options.gene_folds, options.group_by, seed]
    made = ASSEMBLE_DATASET(
        samples,
        reference,
        sorted.map { rows -> rows.transpose() },
        scheme,
        [checks.min_detected, checks.assembly, checks.upstream_bp],
        codeFingerprint(['assemble_dataset.py']),
    )
    h5 = made.h5.mix(channel.fromList(given ? [given] : [])).first() // the one, for many tasks
    listed = LIST_FOLDS(h5, codeFingerprint(['list_folds.py']))
    folds = listed.folds.splitText().map { line -> line.trim().toInteger() } // 0, 1, 2 …
    assembled = made.h5
    lost_ids = made.lost_ids

    emit:
    h5
    folds
    assembled
    lost_ids
}

// Return `--table KEY FILE…` for each key, from two lists of the same length.
def tableOptions(keys, files) {
    [keys, files].transpose().groupBy { key, _file -> key }.collect { key, pairs -> "--table ${key} ${pairs.collect { _key, file -> file }.join(' ')}" }
}
