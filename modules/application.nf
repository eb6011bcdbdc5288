// Predictions for new samples by models that were trained before: bins as in training, every fold of every bundle, one mean with an interval.

include { codeFingerprint } from './code'

// Compare every file of all bundles with its digest, and write the genome that they were trained on.
process CHECK_BUNDLE {
    label 'table'

    input:
    tuple path(bundles, arity: '1..*', stageAs: 'models/*'), val(_keys)
    val code

    output:
    path('chrom.sizes', emit: chrom_sizes)
    path('task.json', topic: tasks)

    script:
    """
    check_bundle.py \\
        --bundles ${bundles} \\
        --code ${code} \\
        --task-out task.json \\
        --out chrom.sizes
    """

    stub:
    """
    touch chrom.sizes task.json
    """
}

// Join new samples' open bins, and their RNA where it is known, with the genes of a bundle.
process ASSEMBLE_NEW {
    label 'table'

    input:
    path samples
    path(bins, arity: '1..*')
    path(expression, arity: '0..*')
    tuple path(bundle, stageAs: 'models/*'), val(_key)
    val code

    output:
    path('dataset.h5', emit: h5)
    path('task.json', topic: tasks)

    script:
    """
    assemble_new.py \\
        --bundle ${bundle} \\
        --samples ${samples} \\
        --bins ${bins} ${expression.collect { path -> "--expression ${path}" }.join(' ')} \\
        --code ${code} \\
        --task-out task.json \\
        --out dataset.h5
    """

    stub:
    """
    touch dataset.h5 task.json
    """
}

// Predict new samples with one fold of one family.
process APPLY {
    tag "${family} fold ${fold}"
    label 'torch'
    label 'gpu'

    input:
    tuple val(family), val(fold), path(bundle, stageAs: 'models/*'), val(_key), val(code)
    path dataset
    tuple val(device), val(precision), val(rules)

    output:
    tuple(val(family), path("${family}.fold${fold}.applied.h5"), emit: applied)
    path('task.json', topic: tasks)

    script:
    """
    apply.py \\
        --bundle ${bundle} \\
        --fold ${fold} \\
        --device ${device} \\
        --precision ${precision} \\
        --threads ${task.cpus} ${rules ? '--rules' : ''} \\
        --dataset ${dataset} \\
        --code ${code} \\
        --task-out task.json \\
        --out ${family}.fold${fold}.applied.h5
    """

    stub:
    """
    touch ${family}.fold${fold}.applied.h5 task.json
    """
}

// Complete the transcriptomes of samples that have only landmark genes.
process COMPLETE_MATRIX {
    tag "${family}"
    label 'torch'
    label 'gpu'

    input:
    tuple val(family), path(bundle, stageAs: 'models/*'), val(_key)
    path(matrices, arity: '1..*', stageAs: 'matrices/*')
    path(landmarks, arity: '0..*', stageAs: 'landmarks/*') // the list that was trained with, where a matrix has probe sets
    tuple val(unit), val(features) // unit: [tpm], or [] for the one that was trained on
    tuple val(device), val(precision)
    val code

    output:
    path("${family}.gctx", emit: gctx)
    path('task.json', topic: tasks)

    script:
    def choices = unit.collect { name -> "--unit ${name}" } + landmarks.collect { path -> "--landmarks ${path}" }
    """
    complete_matrix.py \\
        --bundle ${bundle} \\
        --matrix ${matrices} ${choices.join(' ')} \\
        --features ${features} \\
        --device ${device} \\
        --precision ${precision} \\
        --threads ${task.cpus} \\
        --code ${code} \\
        --task-out task.json \\
        --out ${family}.gctx
    """

    stub:
    """
    touch ${family}.gctx task.json
    """
}

// Average all folds, with an interval around the mean, and say how far each sample is from training.
process AVERAGE_FOLDS {
    tag "${family}"
    label 'torch'

    input:
    tuple val(family), path(bundle, stageAs: 'models/*'), val(_key), path(applied, stageAs: 'folds/*')
    path dataset
    val code

    output:
    path("${family}.h5", emit: h5)
    path('measured.txt', emit: measured, optional: true) // RNA of new samples is known
    path('task.json', topic: tasks)

    script:
    """
    average_folds.py \\
        --bundle ${bundle} \\
        --applied ${applied} \\
        --dataset ${dataset} \\
        --code ${code} \\
        --task-out task.json \\
        --measured-out measured.txt \\
        --out ${family}.h5
    """

    stub:
    """
    touch ${family}.h5 task.json
    """
}

// Write a family's predictions as tables that other programs read.
process EXPORT_APPLIED {
    tag "${applied.baseName}"
    label 'table'

    input:
    path applied
    val code

    output:
    path("${applied.baseName}.{tsv.gz,parquet,h5ad}", emit: tables)
    path('task.json', topic: tasks)

    script:
    """
    export_applied.py \\
        --applied ${applied} \\
        --code ${code} \\
        --task-out task.json \\
        --table-out ${applied.baseName}.tsv.gz \\
        --parquet-out ${applied.baseName}.parquet \\
        --out ${applied.baseName}.h5ad
    """

    stub:
    """
    touch ${applied.baseName}.tsv.gz ${applied.baseName}.parquet ${applied.baseName}.h5ad task.json
    """
}

// Score what was predicted for samples whose RNA is known, as held-out samples are scored.
process SCORE_APPLIED {
    label 'table'

    input:
    path(applied, stageAs: 'applied/*')
    path dataset
    val seed
    val code

    output:
    path('scores.tsv', emit: scores)
    path('sample_scores.tsv', emit: samples)
    path('genes.tsv', emit: genes)
    path('task.json', topic: tasks)

    script:
    """
    evaluate.py \\
        --predictions ${applied} \\
        --dataset ${dataset} \\
        --seed ${seed} \\
        --code ${code} \\
        --task-out task.json \\
        --samples-out sample_scores.tsv \\
        --genes-out genes.tsv \\
        --out scores.tsv
    """

    stub:
    """
    touch scores.tsv sample_scores.tsv genes.tsv task.json
    """
}

// Draw what was predicted on one page. No task.json of its own: it waits for everybody's.
process REPORT_APPLIED {
    label 'table'

    input:
    path(applied, stageAs: 'applied/*')
    path(scores, arity: '0..2') // of all samples, of each; nothing where no RNA is known
    path(peak_stats, stageAs: 'peaks/*')
    path(tasks, stageAs: 'task?/*')
    path parameters
    val code

    output:
    path 'report.html'

    script:
    """
    report_applied.py \\
        --applied ${applied} \\
        ${scores ? "--scores ${scores[0]} --samples ${scores[1]}" : ''} \\
        --peak-stats ${peak_stats} \\
        --tasks ${tasks} \\
        --parameters ${parameters} \\
        --code ${code} \\
        --out report.html
    """

    stub:
    """
    touch report.html
    """
}

workflow CHECKED_BUNDLES {
    take:
    bundles // [{family: atac_cis, path: models/atac_cis, folds: [0, 1]}, …], or none

    main:
    checked = CHECK_BUNDLE(channel.of([bundles*.path, bundles*.key]).filter { paths, _keys -> paths }, codeFingerprint(['check_bundle.py']))
    chrom_sizes = checked.chrom_sizes

    emit:
    chrom_sizes // of the genome that they were trained on, when all are whole
}

workflow COMPLETION {
    take:
    bundle   // [dgex, models/dgex, key], or null
    matrices // {matrix: files, matrix_unit, matrix_features, landmarks: a list or null}
    options  // {device, precision}

    main:
    asked = channel.fromList(bundle ? [bundle] : [])
    profiles = COMPLETE_MATRIX(
        asked,
        matrices.matrix ?: [],
        matrices.landmarks ? [matrices.landmarks] : [],
        [matrices.matrix_unit ? [matrices.matrix_unit] : [], matrices.matrix_features],
        [options.device, options.precision],
        codeFingerprint(['complete_matrix.py', 'exprcast/families/dgex.py']),
    ).gctx

    emit:
    profiles
}

workflow APPLICATION {
    take:
    bundles    // [{family: atac_cis, path: models/atac_cis, key, folds: [0, 1]}, …], or none
    chosen     // chrom.sizes of the checked bundles: nothing is applied before
    given      // a dataset of new samples, or null
    samples    // the table of new samples
    bins       // [accessibility/bin, S1.bins.npz]
    matrices   // [expression/gene, expression.tsv]
    peak_stats
    options    // {device, precision}
    parameters // parameters.json, or nothing
    seed       // of the bootstrap

    main:
    first = bundles.take(1).collect { bundle -> [bundle.path, bundle.key] }
    opened = bins.map { _key, file -> file }.toSortedList { a, b -> a.name <=> b.name }.filter { files -> files && bundles }
    rna = matrices.map { _key, file -> file }.toList()
    made = ASSEMBLE_NEW(samples.filter { bundles }, opened, rna, channel.fromList(first), codeFingerprint(['assemble_new.py']))
    wanted = made.h5.mix(channel.fromList(given && bundles ? [given] : [])).combine(chosen).map { file, _sizes -> file }.first()
    folders = channel.fromList(bundles.collect { bundle -> [bundle.family, bundle.path, bundle.key] })
    runs = channel.fromList(bundles.collectMany { bundle -> bundle.folds.collect { fold -> [bundle.family, fold, bundle.path, bundle.key] } }.findAll { row -> row[0] != 'ensemble' })
    applied = APPLY(
        runs.map { row -> row + codeFingerprint(['apply.py', "exprcast/families/${row[0]}.py"]) },
        wanted,
        [options.device, options.precision, bundles.any { bundle -> bundle.family == 'ensemble' }],
    ).applied
    own = applied.groupTuple()
    all = applied.map { _family, file -> file }.toSortedList { a, b -> a.name <=> b.name }
    single = folders.join(own)
    averaged = folders.filter { family, _path, _key -> family == 'ensemble' }.combine(all.map { files -> [files] })
    means = AVERAGE_FOLDS(
        single.mix(averaged).map { family, path, key, files -> [family, path, key, files.toSorted { file -> file.name }] },
        wanted,
        codeFingerprint(['average_folds.py']),
    )
    exported = EXPORT_APPLIED(means.h5, codeFingerprint(['export_applied.py']))
    families = means.h5.toSortedList { a, b -> a.name <=> b.name }.filter { files -> files }
    measured = means.measured.toList().filter { files -> files }
    scored = SCORE_APPLIED(families.combine(measured.map { 1 }).map { row -> row.dropRight(1) }, wanted, seed, codeFingerprint(['evaluate.py']))
    page = REPORT_APPLIED(
        families,
        scored.scores.combine(scored.samples).ifEmpty([]),
        peak_stats.toSortedList { a, b -> a.name <=> b.name },
        channel.topic('tasks').toSortedList { path -> path.toString() },
        parameters,
        codeFingerprint(['report_applied.py']),
    )
    predictions = means.h5.mix(exported.tables.flatten())
    scores = scored.scores.mix(scored.genes)
    tables = scored.samples.mix(channel.empty())
    report = page.mix(channel.empty())
    dataset = made.h5.mix(channel.empty())

    emit:
    predictions
    scores
    tables
    report
    dataset
}
