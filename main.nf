#!/usr/bin/env nextflow
// exprcast: gene expression predicted from open chromatin, from reads and peaks to scores and a report.

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
    reference = REFERENCE(samples.genes, samples.fasta, samples.chrom_sizes, options.tables + options.folds)
    expression = EXPRESSION(samples.reads, samples.transcript_fasta, reference.transcripts, samples.tables, samples.table, options.inputs + options.tables)
    accessibility = ACCESSIBILITY(samples.peaks, reference.chrom_sizes, options.tables)
    features = expression.matrices.mix(accessibility.bins, reference.features)
    modelled = samples.table.filter { _file -> options.models.families } // --families none stops here
    dataset = DATASET(options.inputs.dataset, modelled, reference.tables, features, options.folds, options.tables, seed)
    models = MODELS(dataset.h5, dataset.folds, options.models, seed)
    shown = [histories: models.histories, attributions: models.attributions, peak_stats: accessibility.stats, read_stats: expression.read_stats, expression_stats: expression.stats, cohort: samples.table]
    evaluation = EVALUATION(models.predictions, dataset.h5, dataset.leakage, dataset.nearest, shown, options.shown + [pipeline: [exprcast: workflow.manifest.version, nextflow: workflow.nextflow.version.toString()]], options.models.ensemble, seed)

    workflow.onComplete = {
        println(closingLines(options))
    }

    publish:
    dataset = dataset.assembled
    checkpoints = models.files
    predictions = evaluation.matrices
    attributions = models.attributions
    reference = reference.files
    kallisto = expression.kallisto
    truth = samples.truth.flatten()
    tables = samples.table.mix(expression.files, dataset.lost_ids, evaluation.tables)
    histories = models.histories
    peak_stats = accessibility.stats
    read_stats = expression.read_stats
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
    reference {
        path 'reference'
    }
    kallisto {
        path 'kallisto'
    }
    truth {
        path 'truth'
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
    read_stats {
        path 'tables/reads'
    }
    scores {
        path '.'
    }
    report {
        path '.'
    }
}
