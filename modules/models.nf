// Models: family × fold × seed, trained, fitted, predicted, explained.

include { codeFingerprint } from './code'

// Train one family on one fold with one seed: dataset in, checkpoint and learning curve out.
process TRAIN {
    tag "${family} fold ${fold} seed ${seed}"
    label 'torch'
    label 'gpu'

    input:
    tuple val(family), val(preset), val(fold), val(seed), val(code)
    path dataset
    tuple val(device), val(precision)

    output:
    tuple val(family), val(preset), val(fold), val(seed), path("${family}.fold${fold}.seed${seed}.pt"), emit: checkpoint
    path "${family}.fold${fold}.seed${seed}.history.tsv", emit: history
    path 'task.json', topic: tasks

    script:
    """
    train.py \\
        --family ${family} \\
        --preset ${preset} \\
        --fold ${fold} \\
        --seed ${seed} \\
        --device ${device} \\
        --precision ${precision} \\
        --threads ${task.cpus} \\
        --dataset ${dataset} \\
        --code ${code} \\
        --task-out task.json \\
        --history-out ${family}.fold${fold}.seed${seed}.history.tsv \\
        --out ${family}.fold${fold}.seed${seed}.pt
    """

    stub:
    """
    touch ${family}.fold${fold}.seed${seed}.pt ${family}.fold${fold}.seed${seed}.history.tsv task.json
    """
}

// Fit the simple predictors of one family on one fold.
process FIT_BASELINES {
    tag "${family} fold ${fold}"
    label 'torch'

    input:
    tuple val(family), val(preset), val(fold), val(code)
    path dataset

    output:
    tuple val(family), path("${family}.fold${fold}.baselines.h5"), emit: baselines
    path 'task.json', topic: tasks

    script:
    """
    fit_baselines.py \\
        --family ${family} \\
        --preset ${preset} \\
        --fold ${fold} \\
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
    tuple val(family), val(kind), path(fitted), val(code) // kind: checkpoint or baselines
    path dataset
    tuple val(device), val(precision)

    output:
    tuple val(family), path("${fitted.baseName}.predictions.h5"), emit: predictions
    path 'task.json', topic: tasks

    script:
    """
    predict.py \\
        --${kind} ${fitted} \\
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
    tuple val(genes), path(checkpoint), val(code)
    path dataset
    val device

    output:
    path "${checkpoint.baseName}.h5", emit: attribution
    path 'task.json', topic: tasks

    script:
    """
    attribute.py \\
        --checkpoint ${checkpoint} \\
        --genes ${genes} \\
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

workflow MODELS {
    take:
    dataset // dataset.h5
    folds   // 0, 1, 2 …
    options // {families: [[family, preset], …], seeds, device, precision, attribution_genes}
    seed    // of the first network

    main:
    arithmetic = [options.device, options.precision]
    seeds = (0..<options.seeds).collect { number -> seed + number }
    fits = folds.combine(channel.fromList(options.families)) // [0, atac_cis, default]
    runs = fits.combine(channel.fromList(seeds)) // [0, atac_cis, default, 1]
    trained = TRAIN(runs.map { fold, family, preset, number -> [family, preset, fold, number, codeOf('train.py', family)] }, dataset, arithmetic)
    fitted = FIT_BASELINES(fits.map { fold, family, preset -> [family, preset, fold, codeOf('fit_baselines.py', family)] }, dataset)
    checkpoints = trained.checkpoint // [atac_cis, default, 0, 1, atac_cis.fold0.seed1.pt]
    index = checkpoints.map { row -> row.init().join(',') + ',' + row.last().name }.collectFile(name: 'checkpoints.csv', seed: 'family,preset,fold,seed,checkpoint', newLine: true, sort: true)
    networks = checkpoints.map { family, _preset, _fold, _seed, checkpoint -> [family, 'checkpoint', checkpoint] }
    predictors = networks.mix(fitted.baselines.map { family, baselines -> [family, 'baselines', baselines] })
    predictions = PREDICT(predictors.map { family, kind, file -> [family, kind, file, codeOf('predict.py', family)] }, dataset, arithmetic).predictions
    explained = networks.filter { options.attribution_genes > 0 }.map { family, _kind, checkpoint -> [options.attribution_genes, checkpoint, codeOf('attribute.py', family)] }
    attributions = ATTRIBUTE(explained, dataset, options.device).attribution
    histories = trained.history
    files = checkpoints.map { row -> row.last() }.mix(index)

    emit:
    files
    histories
    predictions // [atac_cis, atac_cis.fold0.seed1.predictions.h5]
    attributions
}

// Return the fingerprint of a script as it runs one family.
def codeOf(script, family) {
    codeFingerprint([script, "exprcast/families/${family}.py"])
}
