#!/usr/bin/env nextflow
// exprcast: gene expression predicted from open chromatin, from tables to scores and a report.

include { checkParameters ; closingLines } from './modules/parameters'
include { SAMPLES } from './modules/samples'
include { REFERENCE } from './modules/reference'
include { EXPRESSION } from './modules/expression'
include { ACCESSIBILITY } from './modules/accessibility'
include { DATASET } from './modules/dataset'
include { MODELS } from './modules/models'
include { EVALUATION } from './modules/evaluation'

workflow {
    main:
    options = checkParameters(params)
    seed = options.run.seed

    samples = SAMPLES(options.inputs, options.simulation, seed)
    reference = REFERENCE(samples.gene_table, samples.chrom_sizes)
    expression = EXPRESSION(samples.expression, options.tables)
    accessibility = ACCESSIBILITY(samples.peaks, samples.chrom_sizes, options.tables)
    dataset = DATASET(options.inputs.dataset, samples.table, reference.tables, expression.matrices.mix(accessibility.bins), options.folds, options.tables, seed)
    models = MODELS(dataset.h5, dataset.folds, options.models, seed)
    shown = [histories: models.histories, attributions: models.attributions, peak_stats: accessibility.stats, expression_stats: expression.stats]
    evaluation = EVALUATION(models.predictions, dataset.h5, shown, options.shown, seed)
    gene_tables = reference.tables.flatMap { genes, tss, _chrom_sizes -> [genes, tss] }
    matrices = expression.matrices.map { _key, file -> file }

    workflow.onComplete = {
        println(closingLines(options.run.outdir))
    }

    publish:
    dataset = dataset.assembled
    checkpoints = models.files
    predictions = evaluation.matrices
    attributions = models.attributions
    tables = samples.table.mix(samples.truth, gene_tables, matrices, expression.stats, dataset.lost_ids, evaluation.tables)
    histories = models.histories
    peak_stats = accessibility.stats
    scores = evaluation.scores
    report = evaluation.report
}

output {
    dataset {
        path '.'
    }
    checkpoints {
        path 'checkpoints'
    }
    predictions {
        path 'predictions'
    }
    attributions {
        path 'attributions'
    }
    tables {
        path 'tables'
    }
    histories {
        path 'tables/histories'
    }
    peak_stats {
        path 'tables/peaks'
    }
    scores {
        path '.'
    }
    report {
        path '.'
    }
}
