// Matrices of expression whose genes are landmarks and targets.

// Read matrices of any usual format, lists of genes, and what groups the samples.
process IMPORT_MATRIX {
    label 'table'

    input:
    path(matrices, arity: '1..*', stageAs: 'matrices/*')
    path(landmarks, arity: '0..*', stageAs: 'landmarks/*')
    path(targets, arity: '0..*', stageAs: 'targets/*')
    path(sample_table, arity: '0..*', stageAs: 'samples/*')
    tuple val(unit), val(features), val(missing_landmarks)
    tuple val(groups), val(duplicates), val(duplicate_samples)
    val code

    output:
    path('imported/matrix.h5', emit: matrix)
    path('imported/samples.tsv', emit: samples)
    path('imported/genes.tsv', emit: genes)
    path('imported/lists.tsv', emit: lists, optional: true)
    path('imported/left_out.tsv', emit: left_out, optional: true)
    path('imported/duplicates.tsv', emit: duplicates, optional: true)
    path('task.json', topic: tasks)

    script:
    def tables = [landmarks: landmarks, targets: targets, 'sample-table': sample_table].collectMany { name, paths -> paths.collect { path -> "--${name} ${path}" } }
    def choices = groups.collect { list -> "--groups ${list}" } + duplicates.collect { distance -> "--duplicates ${distance}" }
    """
    import_matrix.py \\
        --matrix ${matrices} ${(tables + choices).join(' ')} \\
        --unit ${unit} \\
        --features ${features} \\
        --missing-landmarks ${missing_landmarks} \\
        --duplicate-samples ${duplicate_samples} \\
        --code ${code} \\
        --task-out task.json \\
        --out imported
    """

    stub:
    """
    mkdir imported
    touch imported/matrix.h5 imported/samples.tsv imported/genes.tsv task.json
    """
}
