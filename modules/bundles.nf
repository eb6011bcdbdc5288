// Models as a product: one folder a family, with all that predicting new samples takes.

include { codeFingerprint } from './code'

// Calibrate intervals on held-out samples, write the model card, and put all files of one family together.
process BUNDLE {
    tag "${family}"
    label 'torch'

    input:
    tuple val(family), path(predictions), path(checkpoints, arity: '0..*', stageAs: 'checkpoints/*'), path(baselines, arity: '0..*', stageAs: 'baselines/*'), path(tasks, arity: '0..*', stageAs: 'task?/*')
    path dataset
    path scores
    val version
    val code

    output:
    path("${family}", emit: bundle)
    path('task.json', topic: tasks)

    script:
    """
    bundle.py \\
        --dataset ${dataset} \\
        --predictions ${predictions} \\
        --checkpoints ${checkpoints} \\
        --baselines ${baselines} \\
        --scores ${scores} \\
        --tasks ${tasks} \\
        --version '${version}' \\
        --code ${code} \\
        --task-out task.json \\
        --out ${family}
    """

    stub:
    """
    mkdir ${family}
    touch ${family}/bundle.json task.json
    """
}

workflow BUNDLES {
    take:
    matrices    // <family>.h5: predictions of all folds, of the ensemble, too
    checkpoints // [atac_cis, atac_cis.fold0.seed1.pt]
    baselines   // [atac_cis, atac_cis.fold0.baselines.h5]
    costs       // [atac_cis, task.json]: of the tasks that trained it
    dataset     // dataset.h5
    scores      // scores.tsv

    main:
    trained = grouped(checkpoints).join(grouped(baselines)).join(grouped(costs)) // [atac_cis, [*.pt], [*.baselines.h5], [task.json, …]]
    named = matrices.map { path -> [path.baseName, path] }
    single = named.join(trained)
    averaged = named.filter { family, _path -> family == 'ensemble' }.map { family, path -> [family, path, [], [], []] }
    made = BUNDLE(single.mix(averaged), dataset, scores, workflow.manifest.version, codeFingerprint(['bundle.py']))
    files = made.bundle

    emit:
    files
}

// Return [key, its files sorted] of a channel of pairs.
def grouped(pairs) {
    pairs.groupTuple().map { key, files -> [key, files.toSorted { a, b -> a.name <=> b.name ?: a.toString() <=> b.toString() }] }
}
