// Scores beside baselines, and one page to read.

include { codeFingerprint } from './code'

// Put one family's predictions of all folds and seeds side by side.
process COMBINE {
    tag "${family}"
    label 'table'

    input:
    tuple val(family), path(predictions)
    val code

    output:
    path("${family}.h5", emit: h5)
    path("${family}.tsv.gz", emit: table, optional: true) // not for millions of rows
    path('task.json', topic: tasks)

    script:
    """
    combine.py \\
        --predictions ${predictions} \\
        --code ${code} \\
        --task-out task.json \\
        --table-out ${family}.tsv.gz \\
        --out ${family}.h5
    """

    stub:
    """
    touch ${family}.h5 ${family}.tsv.gz task.json
    """
}

// Multiply shares of isoforms by the levels of their genes, as measured or as another family predicts them.
process ISOFORM_LEVELS {
    tag "${predictions.baseName}"
    label 'table'

    input:
    tuple path(predictions), path(genes, arity: '0..*', stageAs: 'genes/*')
    path dataset
    val code

    output:
    path("${predictions.baseName}_levels.h5", emit: h5)
    path('task.json', topic: tasks)

    script:
    """
    isoform_levels.py \\
        --predictions ${predictions} ${genes ? "--genes ${genes}" : ''} \\
        --dataset ${dataset} \\
        --code ${code} \\
        --task-out task.json \\
        --out ${predictions.baseName}_levels.h5
    """

    stub:
    """
    touch ${predictions.baseName}_levels.h5 task.json
    """
}

// Average all families and simple rules, with weights learned on validation samples.
process ENSEMBLE {
    label 'table'

    input:
    path(predictions, stageAs: 'predictions/*')
    path dataset
    val code

    output:
    path('ensemble.h5', emit: h5)
    path('ensemble.tsv.gz', emit: table, optional: true) // not for millions of rows
    path('task.json', topic: tasks)

    script:
    """
    ensemble.py \\
        --predictions ${predictions} \\
        --dataset ${dataset} \\
        --code ${code} \\
        --task-out task.json \\
        --table-out ensemble.tsv.gz \\
        --out ensemble.h5
    """

    stub:
    """
    touch ensemble.h5 ensemble.tsv.gz task.json
    """
}

// Score every family beside its baselines.
process EVALUATE {
    label 'table'

    input:
    path(predictions, stageAs: 'predictions/*')
    path dataset
    path nearest
    val seed
    val code

    output:
    path('scores.tsv', emit: scores)
    path('genes.tsv', emit: genes)
    path('sample_scores.tsv', emit: samples)
    path('task.json', topic: tasks)

    script:
    """
    evaluate.py \\
        --predictions ${predictions} \\
        --dataset ${dataset} \\
        --nearest ${nearest} \\
        --seed ${seed} \\
        --code ${code} \\
        --task-out task.json \\
        --samples-out sample_scores.tsv \\
        --genes-out genes.tsv \\
        --out scores.tsv
    """

    stub:
    """
    touch scores.tsv genes.tsv sample_scores.tsv task.json
    """
}

// Compare all families on the cells that they share.
process BAKE_OFF {
    label 'table'

    input:
    path(predictions, stageAs: 'predictions/*')
    path dataset
    val seed
    val code

    output:
    path('bake_off.tsv', emit: table)
    path('task.json', topic: tasks)

    script:
    """
    bake_off.py \\
        --predictions ${predictions} \\
        --dataset ${dataset} \\
        --seed ${seed} \\
        --code ${code} \\
        --task-out task.json \\
        --out bake_off.tsv
    """

    stub:
    """
    touch bake_off.tsv task.json
    """
}

// Draw everything on one page. No task.json of its own: it waits for everybody's.
process REPORT {
    label 'table'

    input:
    path(results, arity: '0..4') // scores, of samples, of genes, leakage; nothing where no model was trained
    path(bake_off, arity: '0..*') // nothing where there is one family
    path(predictions, stageAs: 'predictions/*')
    path(histories, stageAs: 'histories/*')
    path(peak_stats, stageAs: 'peaks/*')
    path(read_stats, stageAs: 'reads/*')
    path(expression_stats, stageAs: 'expression/*')
    path(attributions, stageAs: 'attributions/*')
    path(dataset, arity: '0..*') // nothing where no model was asked for
    path(cohort, arity: '0..*') // nothing where the run began from a dataset
    path(tasks, stageAs: 'task?/*')
    path parameters
    val code

    output:
    path 'report.html'

    script:
    """
    report.py \\
        ${results ? "--scores ${results[0]} --samples ${results[1]} --genes ${results[2]} --leakage ${results[3]}" : ''} ${bake_off ? "--bake-off ${bake_off}" : ''} \\
        --predictions ${predictions} \\
        --histories ${histories} \\
        --peak-stats ${peak_stats} \\
        --read-stats ${read_stats} \\
        --expression-stats ${expression_stats} \\
        --attributions ${attributions} \\
        ${dataset ? "--dataset ${dataset}" : ''} ${cohort ? "--cohort ${cohort}" : ''} \\
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

// Fail if a network collapsed and stayed so: last of all, when everything else is done.
process CHECK_TRAINED {
    label 'table'

    input:
    path(predictions, stageAs: 'predictions/*')
    path report // only to wait for it
    val code

    output:
    path 'trained.txt'

    script:
    """
    check_trained.py \\
        --predictions ${predictions} \\
        --code ${code} \\
        --out trained.txt
    """

    stub:
    """
    touch trained.txt
    """
}

workflow EVALUATION {
    take:
    predictions // [atac_cis, atac_cis.fold0.seed1.predictions.h5]
    dataset     // dataset.h5
    leakage     // leakage.tsv: what test and training share
    nearest     // nearest.tsv: what in training is most similar to each sample or gene that is tested
    shown       // {histories, attributions, peak_stats, read_stats, expression_stats, cohort}: what else the report shows, each a channel of files
    parameters  // parameters.json; nothing where there is no page to write
    options     // {ensemble: predict also by the weighted mean of all, of_shares: families that predict shares of isoforms, isoform_genes: the one whose genes they are parts of, or null}
    seed        // of the bootstrap

    main:
    gathered = predictions.groupTuple().map { family, files -> [family, files.toSorted { file -> file.name }] }
    combined = COMBINE(gathered, codeFingerprint(['combine.py']))
    averaged = ENSEMBLE(sortedFiles(combined.h5).filter { files -> files && options.ensemble }, dataset, codeFingerprint(['ensemble.py']))
    genes = sortedFiles(combined.h5.filter { path -> path.baseName == options.isoform_genes }).map { files -> [files] }
    levels = ISOFORM_LEVELS(combined.h5.filter { path -> path.baseName in options.of_shares }.combine(genes), dataset, codeFingerprint(['isoform_levels.py']))
    predicted = combined.h5.mix(averaged.h5, levels.h5)
    families = sortedFiles(predicted)
    scored = EVALUATE(families.filter { files -> files }, dataset, nearest, seed, codeFingerprint(['evaluate.py']))
    several = families.filter { files -> files.count { file -> file.name != 'ensemble.h5' } > 1 }
    compared = BAKE_OFF(several, dataset, seed, codeFingerprint(['bake_off.py']))
    page = REPORT(
        scored.scores.combine(scored.samples).combine(scored.genes).combine(leakage).ifEmpty([]),
        sortedFiles(compared.table),
        families,
        sortedFiles(shown.histories),
        sortedFiles(shown.peak_stats),
        sortedFiles(shown.read_stats),
        sortedFiles(shown.expression_stats),
        sortedFiles(shown.attributions),
        sortedFiles(dataset),
        sortedFiles(shown.cohort),
        channel.topic('tasks').toSortedList { path -> path.toString() },
        parameters,
        codeFingerprint(['report.py']),
    )
    CHECK_TRAINED(families.filter { files -> files }, page, codeFingerprint(['check_trained.py']))
    report = page.mix(channel.empty())
    matrices = predicted
    cells = combined.table.mix(averaged.table)
    summary = scored.scores
    scores = scored.scores.mix(scored.genes, compared.table) // a queue, as its end without an item breaks publishing on 25.04
    tables = scored.samples.mix(leakage, nearest)

    emit:
    matrices
    cells
    summary
    scores
    tables
    report
}

// Return all files of a channel as one list, sorted by name.
def sortedFiles(files) {
    files.toSortedList { a, b -> a.name <=> b.name }
}
