#!/usr/bin/env nextflow
// exprcast: gene expression predicted from open chromatin, from reads and peaks to scores and a report.

include { WRITE_PARAMETERS ; checkParameters ; closingLines } from './modules/parameters'
include { SAMPLES } from './modules/samples'
include { REFERENCE } from './modules/reference'
include { EXPRESSION } from './modules/expression'
include { ACCESSIBILITY } from './modules/accessibility'
include { ISOFORMS } from './modules/isoforms'
include { MATRICES } from './modules/matrices'
include { DATASET } from './modules/dataset'
include { MODELS } from './modules/models'
include { EVALUATION } from './modules/evaluation'
include { BUNDLES } from './modules/bundles'
include { SEQUENCE } from './modules/sequence'
include { APPLICATION ; CHECKED_BUNDLES ; COMPLETION } from './modules/application'

workflow {
    main:
    options = checkParameters(params)
    seed = options.run.seed

    listed = options.inputs.samples ? options.matrices.subMap(['landmarks', 'targets']) : [:] // of a matrix MATRICES reads the lists
    samples = SAMPLES(options.inputs + options.isoforms + listed, options.simulation, seed)
    checked = CHECKED_BUNDLES(options.bundles)
    reference = REFERENCE(samples.genes, samples.fasta, samples.chrom_sizes.mix(checked.chrom_sizes), options.inputs + options.tables + options.folds + [computed: options.computed])
    expression = EXPRESSION(samples.reads, samples.transcript_fasta, reference.transcripts, samples.tables, samples.table, options.inputs + options.tables)
    accessibility = ACCESSIBILITY(samples.peaks, reference.chrom_sizes, options.tables)
    isoforms = ISOFORMS(expression.transcripts, samples.factors, options.inputs + options.matrices + options.isoforms)
    features = expression.matrices.mix(accessibility.bins, reference.features, isoforms.tables, samples.lists)
    modelled = reference.tables.filter { _files -> options.models.families }.mix(isoforms.reference) // --families none stops here
    sample_table = samples.table.mix(isoforms.samples)
    matrices = MATRICES(options.completed ? options.matrices + [matrix: null] : options.matrices, options.folds, options.tables.min_detected, seed)
    dataset = DATASET(options.bundles ? null : options.inputs.dataset, matrices.h5, sample_table, modelled, features, options.folds, reference.split, options.tables, seed)
    models = MODELS(dataset.h5, dataset.folds, options.models + [of_bases: options.computed.of_bases], seed)
    shown = [histories: models.histories, attributions: models.attributions, peak_stats: accessibility.stats, read_stats: expression.read_stats, expression_stats: expression.stats, cohort: sample_table]
    parameters = WRITE_PARAMETERS(channel.of(options.shown + [pipeline: [exprcast: workflow.manifest.version, nextflow: workflow.nextflow.version.toString()]]))
    evaluation = EVALUATION(models.predictions, dataset.h5, dataset.leakage, dataset.nearest, shown, parameters.filter { !options.bundles && !options.networks && !options.completed }, options.models.subMap(['ensemble', 'isoform_genes']) + [of_shares: options.computed.of_shares], seed)
    bundled = evaluation.matrices.filter { path -> !(path.baseName in options.computed.of_isoforms) } // nothing reads transcripts of new samples
    bundles = BUNDLES(bundled, models.trained_files, models.baselines, models.costs, dataset.h5, evaluation.summary)
    application = APPLICATION(options.bundles, checked.chrom_sizes, options.inputs.dataset, samples.table, accessibility.bins, expression.matrices, accessibility.stats, options.models, parameters.filter { options.bundles }, seed)

    completion = COMPLETION(options.completed, options.matrices, options.models)
    sequence = SEQUENCE(options.networks, options.inputs, reference.genome, reference.features, options.models.device)

    workflow.onComplete = {
        println(closingLines(options))
    }

    publish:
    dataset = dataset.assembled.mix(matrices.h5, application.dataset)
    models = bundles.files
    checkpoints = models.files
    predictions = evaluation.matrices.mix(evaluation.cells, application.predictions, sequence.predictions, completion.profiles)
    attributions = models.attributions
    tracks = sequence.tracks
    share_tracks = models.tracks
    reference = reference.files
    kallisto = expression.kallisto
    inputs = samples.simulated_lists
    truth = samples.truth.flatten()
    matrix_tables = matrices.tables
    tables = sample_table.mix(expression.files, isoforms.without_gene, dataset.lost_ids, evaluation.tables, application.tables)
    histories = models.histories
    peak_stats = accessibility.stats
    read_stats = expression.read_stats
    scores = evaluation.scores.mix(application.scores)
    report = evaluation.report.mix(application.report)
}

output {
    dataset {
        path '.'
    }
    checkpoints {
        path 'checkpoints'
    }
    models {
        path 'models'
    }
    predictions {
        path 'predictions'
    }
    attributions {
        path 'attributions'
    }
    tracks {
        path '.'
    }
    share_tracks {
        path 'tracks'
    }
    reference {
        path 'reference'
    }
    kallisto {
        path 'kallisto'
    }
    inputs {
        path 'inputs'
    }
    truth {
        path 'truth'
    }
    tables {
        path 'tables'
    }
    matrix_tables {
        path 'tables/matrices'
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
