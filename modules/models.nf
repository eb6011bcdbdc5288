// Models: family × fold × seed, prepared, trained, fitted, predicted, explained.

include { codeFingerprint } from './code'

// What a family learns from training rows before any weights, and the arrays that its examples read: once a fold.
process PREPARE {
    tag "${family} fold ${fold}"
    label 'torch'

    input:
    tuple val(family), val(preset), val(fold), val(code)
    path dataset
    val refit // prepare also for a second fit, on training and validation together

    output:
    tuple(val(family), val(preset), val(fold), path("${family}.fold${fold}.prepared"), emit: prepared)
    tuple(val(family), path('task.json'), emit: cost)
    path('task.json', topic: tasks)

    script:
    """
    prepare.py \\
        --family ${family} \\
        --preset ${preset} \\
        --fold ${fold} \\
        ${refit ? '--refit' : ''} \\
        --threads ${task.cpus} \\
        --dataset ${dataset} \\
        --code ${code} \\
        --task-out task.json \\
        --out ${family}.fold${fold}.prepared
    """

    stub:
    """
    mkdir ${family}.fold${fold}.prepared
    touch task.json
    """
}

// Train one family on one fold with one seed: dataset and what was prepared of it in, checkpoint and learning curve out.
process TRAIN {
    tag "${stem}"
    label 'torch'
    label 'gpu'

    input:
    tuple val(stem), val(family), val(preset), val(fold), path(prepared), val(seed), val(control), val(code)
    path dataset
    tuple val(device), val(precision)

    output:
    tuple(val(family), val(preset), val(fold), val(seed), val(control), path("${stem}.pt"), emit: checkpoint)
    path("${stem}.history.tsv", emit: history)
    tuple(val(family), path('task.json'), emit: cost)
    path('task.json', topic: tasks)

    script:
    """
    train.py \\
        --prepared ${prepared} \\
        --seed ${seed} \\
        --control '${control}' \\
        --device ${device} \\
        --devices ${task.accelerator?.request ?: 1} \\
        --precision ${precision} \\
        --threads ${task.cpus} \\
        --dataset ${dataset} \\
        --code ${code} \\
        --task-out task.json \\
        --history-out ${stem}.history.tsv \\
        --out ${stem}.pt
    """

    stub:
    """
    touch ${stem}.pt ${stem}.history.tsv task.json
    """
}

// Fit the simple predictors of one family on one fold.
process FIT_BASELINES {
    tag "${family} fold ${fold}"
    label 'torch'

    input:
    tuple val(family), val(fold), path(prepared), val(code)
    path dataset

    output:
    tuple(val(family), val(fold), path("${family}.fold${fold}.baselines.h5"), emit: baselines)
    tuple(val(family), path('task.json'), emit: cost)
    path('task.json', topic: tasks)

    script:
    """
    fit_baselines.py \\
        --prepared ${prepared} \\
        --threads ${task.cpus} \\
        --dataset ${dataset} \\
        --code ${code} \\
        --task-out task.json \\
        --out ${family}.fold${fold}.baselines.h5
    """

    stub:
    """
    touch ${family}.fold${fold}.baselines.h5 task.json
    """
}

// Predict the held-out examples of one fold with what was trained or fitted on it.
process PREDICT {
    tag "${fitted.baseName}"
    label 'torch'
    label 'gpu'

    input:
    tuple val(family), val(kind), path(fitted), path(prepared), val(code) // kind: checkpoint or baselines
    path dataset
    tuple val(device), val(precision)

    output:
    tuple(val(family), path("${fitted.baseName}.predictions.h5"), emit: predictions)
    path('task.json', topic: tasks)

    script:
    """
    predict.py \\
        --${kind} ${fitted} \\
        --prepared ${prepared} \\
        --device ${device} \\
        --precision ${precision} \\
        --threads ${task.cpus} \\
        --dataset ${dataset} \\
        --code ${code} \\
        --task-out task.json \\
        --out ${fitted.baseName}.predictions.h5
    """

    stub:
    """
    touch ${fitted.baseName}.predictions.h5 task.json
    """
}

// Share out a checkpoint's predictions over what it read.
process ATTRIBUTE {
    tag "${checkpoint.baseName}"
    label 'torch'
    label 'gpu'

    input:
    tuple val(genes), val(method), path(checkpoint), path(prepared), val(code)
    path dataset
    val device

    output:
    path("${checkpoint.baseName}.h5", emit: attribution)
    path('task.json', topic: tasks)

    script:
    """
    attribute.py \\
        --checkpoint ${checkpoint} \\
        --prepared ${prepared} \\
        --genes ${genes} \\
        --method ${method} \\
        --device ${device} \\
        --threads ${task.cpus} \\
        --dataset ${dataset} \\
        --code ${code} \\
        --task-out task.json \\
        --out ${checkpoint.baseName}.h5
    """

    stub:
    """
    touch ${checkpoint.baseName}.h5 task.json
    """
}

// Lay what each base adds to its gene's prediction along the genome; nothing where no gene's place is known.
process TRACK_SHARES {
    tag "${family}"
    label 'table'

    input:
    tuple val(family), path(attributions, stageAs: 'attributions/*')
    path dataset
    val code

    output:
    path("${family}.bw", emit: track, optional: true)
    path('task.json', topic: tasks)

    script:
    """
    track_shares.py \\
        --attributions ${attributions} \\
        --dataset ${dataset} \\
        --code ${code} \\
        --task-out task.json \\
        --out ${family}.bw
    """

    stub:
    """
    touch ${family}.bw task.json
    """
}

workflow MODELS {
    take:
    dataset // dataset.h5
    folds   // 0, 1, 2 …
    options // {families: [[family, preset], …], seeds, shuffled_control, refit, device, precision, attribution_genes, attribution_method; of_bases: families that read bases}
    seed    // of the first network

    main:
    arithmetic = [options.device, options.precision]
    seeds = (0..<options.seeds).collect { number -> seed + number }
    fits = folds.combine(channel.fromList(options.families)) // [0, atac_cis, default]
    preparing = PREPARE(fits.map { fold, family, preset -> [family, preset, fold, codeOf('prepare.py', family)] }, dataset, options.refit)
    prepared = preparing.prepared
    folders = prepared.map { family, _preset, fold, folder -> [family, fold, folder] } // [atac_cis, 0, atac_cis.fold0.prepared]
    controls = prepared.flatMap { run -> controlsOf(run[0], options.shuffled_control).collect { control -> run + [seed, control] } } // [deepsf, default, 0, deepsf.fold0.prepared, 1, permuted]
    runs = prepared.combine(channel.fromList(seeds)).map { run -> run + '' }.mix(controls) // [atac_cis, default, 0, atac_cis.fold0.prepared, 1, ''], the last: no control
    trained = TRAIN(runs.map { run -> [stemOf(run[0], run[2], run[4], run[5])] + run + codeOf('train.py', run[0]) }, dataset, arithmetic)
    fitted = FIT_BASELINES(folders.map { family, fold, folder -> [family, fold, folder, codeOf('fit_baselines.py', family)] }, dataset)
    networks = trained.checkpoint // [atac_cis, default, 0, 1, '', atac_cis.fold0.seed1.pt]
    checkpoints = networks.filter { _family, _preset, _fold, _seed, control, _checkpoint -> !control }
    index = checkpoints.map { family, preset, fold, number, _control, path -> [family, preset, fold, number, path.name].join(',') }
        .collectFile(name: 'checkpoints.csv', seed: 'family,preset,fold,seed,checkpoint', newLine: true, sort: true)
    predictors = networks.map { row -> [row[0], row[2], 'checkpoint', row[5]] }.mix(fitted.baselines.map { family, fold, file -> [family, fold, 'baselines', file] })
    predicting = predictors.combine(folders, by: [0, 1]) // [atac_cis, 0, checkpoint, atac_cis.fold0.seed1.pt, atac_cis.fold0.prepared]
    predictions = PREDICT(predicting.map { family, _fold, kind, file, folder -> [family, kind, file, folder, codeOf('predict.py', family)] }, dataset, arithmetic).predictions
    explained = checkpoints.filter { options.attribution_genes > 0 }.map { row -> [row[0], row[2], row[5]] }.combine(folders, by: [0, 1])
    attributions = ATTRIBUTE(explained.map { family, _fold, file, folder -> [options.attribution_genes, options.attribution_method, file, folder, codeOf('attribute.py', family)] }, dataset, options.device).attribution
    of_bases = attributions.map { path -> [path.simpleName, path] }.filter { family, _path -> family in options.of_bases } // [xpresso, xpresso.fold0.seed1.h5]
    tracks = TRACK_SHARES(of_bases.groupTuple().map { family, files -> [family, files.toSorted { path -> path.name }] }, dataset, codeFingerprint(['track_shares.py'])).track
    histories = trained.history.filter { path -> path.name ==~ /.*\.seed\d+\.history\.tsv/ } // of no control
    files = checkpoints.map { row -> row[5] }.mix(index)
    trained_files = checkpoints.map { row -> [row[0], row[5]] } // [atac_cis, atac_cis.fold0.seed1.pt]
    baselines = fitted.baselines.map { family, _fold, file -> [family, file] }
    costs = preparing.cost.mix(trained.cost, fitted.cost) // [atac_cis, task.json]

    emit:
    files
    trained_files
    baselines
    costs
    histories
    predictions // [atac_cis, atac_cis.fold0.seed1.predictions.h5]
    attributions
    tracks // xpresso.bw
}

// Return the name that all files of one training begin with.
def stemOf(family, fold, seed, control) {
    "${family}.fold${fold}.seed${seed}${control ? ".${control}" : ''}"
}

// Return the fingerprint of a script as it runs one family.
def codeOf(script, family) {
    codeFingerprint([script, "exprcast/families/${family}.py"])
}

// Return the controls that stand beside a family's networks: its own, and on request shuffled labels.
def controlsOf(family, shuffled) {
    def own = file("${projectDir}/bin/exprcast/families/${family}.py").getText('UTF-8').find(/(?m)^CONTROLS = \((.*)\)$/) ?: ''
    (shuffled ? ['shuffled'] : []) + own.findAll(/"(\w+)"/) { _all, name -> name }
}
