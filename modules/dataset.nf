// The border between data and models: all tables joined by id, with folds, in one HDF5 file.

include { codeFingerprint } from './code'

// Join the tables into dataset.h5. A new source of tables is one more key: nothing changes here.
process ASSEMBLE_DATASET {
    label 'table'

    input:
    path(samples, arity: '0..*') // none in a run of genes alone
    tuple path(genes), path(tss), path(chrom_sizes, stageAs: 'genome/*')
    tuple val(keys), path(files, arity: '1..*', stageAs: 'tables?/*') // lists have the names that users gave them
    tuple val(hold_out), val(folds), val(gene_folds), val(group_by), val(gene_groups), val(seed)
    path(fold_table, arity: '0..*', stageAs: 'folds/*')
    tuple val(min_detected), val(assembly)
    val code

    output:
    path('dataset.h5', emit: h5)
    path('lost_ids.tsv', emit: lost_ids)
    path('task.json', topic: tasks)

    script:
    """
    assemble_dataset.py \\
        ${samples ? "--samples ${samples}" : ''} \\
        --chrom-sizes ${chrom_sizes} \\
        --genes ${genes} \\
        --tss ${tss} \\
        ${tableOptions(keys, files).join(' ')} \\
        --hold-out ${hold_out} \\
        --folds ${folds} \\
        --gene-folds ${gene_folds} \\
        --group-by ${group_by} \\
        --gene-groups ${gene_groups} ${fold_table.collect { path -> "--fold-table ${path}" }.join(' ')} \\
        --min-detected ${min_detected} \\
        --assembly ${assembly} \\
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

// List the folds of a dataset, and what test and training share in them; a dataset that breaks its promises stops here.
process CHECK_FOLDS {
    label 'table'

    input:
    path dataset
    val code

    output:
    path('folds.txt', emit: folds)
    path('leakage.tsv', emit: leakage)
    path('nearest.tsv', emit: nearest)
    path('task.json', topic: tasks)

    script:
    """
    check_folds.py \\
        --dataset ${dataset} \\
        --code ${code} \\
        --task-out task.json \\
        --leakage-out leakage.tsv \\
        --nearest-out nearest.tsv \\
        --out folds.txt
    """

    stub:
    """
    printf '0\\n1\\n' > folds.txt
    touch leakage.tsv nearest.tsv task.json
    """
}

workflow DATASET {
    take:
    given     // a dataset made before, or null
    joined    // a dataset made of matrices, or nothing
    samples   // the sample table, or nothing
    reference // [genes.tsv, tss.tsv, chrom.sizes]
    tables    // [accessibility/bin, K562_1.bins.npz]: a key of the dataset and its file
    options   // {hold_out, folds, gene_folds, group_by, gene_groups, fold_table: a table or null}
    split     // a table of folds that came with ready promoters, or nothing
    checks    // {min_detected, assembly}
    seed

    main:
    sorted = tables.toSortedList { a, b -> a[0] <=> b[0] ?: a[1].name <=> b[1].name }.filter { rows -> rows } // one list of all
    fold_tables = channel.fromList(options.fold_table ? [options.fold_table] : []).mix(split.filter { _file -> !options.fold_table }).toList()
    scheme = [options.hold_out, options.folds, options.gene_folds, options.group_by, options.gene_groups, seed]
    made = ASSEMBLE_DATASET(
        samples.toList(),
        reference,
        sorted.map { rows -> rows.transpose() },
        scheme,
        fold_tables,
        [checks.min_detected, checks.assembly],
        codeFingerprint(['assemble_dataset.py']),
    )
    h5 = made.h5.mix(joined, channel.fromList(given ? [given] : [])).first() // the one, for many tasks
    checked = CHECK_FOLDS(h5, codeFingerprint(['check_folds.py']))
    folds = checked.folds.splitText().map { line -> line.trim().toInteger() } // 0, 1, 2 …
    leakage = checked.leakage
    nearest = checked.nearest
    assembled = made.h5
    lost_ids = made.lost_ids

    emit:
    h5
    folds
    leakage
    nearest
    assembled
    lost_ids
}

// Return `--table KEY FILE…` for each key, from two lists of the same length. Nextflow quotes only paths that stand in the script themselves.
def tableOptions(keys, files) {
    [keys, files].transpose().groupBy { key, _file -> key }.collect { key, pairs -> "--table ${key} ${pairs.collect { _key, file -> nextflow.util.Escape.path(file.toString()) }.join(' ')}" }
}
