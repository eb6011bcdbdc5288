// Matrices of expression whose genes are landmarks and targets: the one that is trained on, and external sets → one dataset.

include { codeFingerprint } from './code'

// Read matrices of any usual format, lists of genes, and what groups the samples.
process IMPORT_MATRIX {
    tag "${name}"
    label 'table'

    input:
    tuple val(name), path(matrices, arity: '1..*', stageAs: 'matrices/*'), val(unit), path(sample_table, arity: '0..*', stageAs: 'samples/*'), val(groups), val(duplicates)
    path(landmarks, arity: '0..*', stageAs: 'landmarks/*')
    path(targets, arity: '0..*', stageAs: 'targets/*')
    tuple val(features), val(missing_landmarks)
    val code

    output:
    path("${name}", emit: folder) // matrix.h5 and its tables
    path("${name}/{samples,left_out,duplicates}.tsv", emit: tables)
    path('task.json', topic: tasks)

    script:
    def tables = [landmarks: landmarks, targets: targets, 'sample-table': sample_table].collectMany { option, paths -> paths.collect { path -> "--${option} ${path}" } }
    """
    import_matrix.py \\
        --matrix ${matrices} ${tables.join(' ')} \\
        --unit ${unit} \\
        --features ${features} \\
        --missing-landmarks ${missing_landmarks} \\
        --groups '${groups}' ${duplicates} \\
        --code ${code} \\
        --task-out task.json \\
        --out ${name}
    """

    stub:
    """
    mkdir ${name}
    touch ${name}/matrix.h5 ${name}/samples.tsv ${name}/genes.tsv ${name}/lists.tsv ${name}/left_out.tsv task.json
    """
}

// Join the imported matrices into dataset.h5, external sets with a fold of their own.
process ASSEMBLE_MATRICES {
    label 'table'

    input:
    path main
    path(external, arity: '0..*')
    val roles // {gtex: test, geuvadis: choose}
    tuple val(folds), val(group_by), val(min_detected), val(seed)
    path(fold_table, arity: '0..*', stageAs: 'folds/*')
    val code

    output:
    path('dataset.h5', emit: h5)
    path('sets.tsv', emit: sets)
    path('task.json', topic: tasks)

    script:
    """
    assemble_matrices.py \\
        --main ${main} ${external.collect { path -> "--external ${roles[path.name]} ${path}" }.join(' ')} \\
        --folds ${folds} \\
        --group-by ${group_by} ${fold_table.collect { path -> "--fold-table ${path}" }.join(' ')} \\
        --min-detected ${min_detected} \\
        --seed ${seed} \\
        --code ${code} \\
        --task-out task.json \\
        --sets-out sets.tsv \\
        --out dataset.h5
    """

    stub:
    """
    touch dataset.h5 sets.tsv task.json
    """
}

workflow MATRICES {
    take:
    options      // {matrix: files or null, matrix_unit, matrix_features, matrix_samples, matrix_groups, landmarks, targets, missing_landmarks, duplicates, external: rows}
    folds        // {folds, group_by, fold_table}
    min_detected // share of a set's median number of detected genes
    seed

    main:
    lists = [options.landmarks, options.targets].collect { file -> file ? [file] : [] }
    own = [mainSet(), options.matrix, options.matrix_unit, options.matrix_samples ? [options.matrix_samples] : [], options.matrix_groups ?: '', duplicateOptions(options.duplicates)]
    others = options.external.collect { row -> [row.name, [row.matrix], row.unit, row.samples ? [row.samples] : [], row.groups, ''] }
    imported = IMPORT_MATRIX(channel.fromList(options.matrix ? [own] + others : []), lists[0], lists[1], [options.matrix_features, options.missing_landmarks], codeFingerprint(['import_matrix.py']))
    joined = ASSEMBLE_MATRICES(
        imported.folder.filter { folder -> folder.name == mainSet() },
        imported.folder.filter { folder -> folder.name != mainSet() }.toSortedList { a, b -> a.name <=> b.name },
        options.external.collectEntries { row -> [row.name, row.role] },
        [folds.folds, folds.group_by, min_detected, seed],
        folds.fold_table ? [folds.fold_table] : [],
        codeFingerprint(['assemble_matrices.py']),
    )
    h5 = joined.h5
    tables = imported.tables.flatten().mix(joined.sets)

    emit:
    h5
    tables
}

// Return the script's options for --duplicates: a distance, perhaps what is done with samples that are nearer.
def duplicateOptions(text) {
    def (distance, fate) = (text ?: '').tokenize(':') + ['drop']
    text ? "--duplicates ${distance} --duplicate-samples ${fate}" : ''
}

// Return the folder's name of the matrix that is trained on; no external set may have it.
def mainSet() {
    'main'
}
