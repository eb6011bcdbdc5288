// Sequence networks, trained here or published, applied to promoters, start sites and variants, and along a locus.

include { codeFingerprint } from './code'

// Predict sequences, start sites, or what variants change in their windows.
process APPLY_SEQUENCE {
    label 'torch'
    label 'gpu'

    input:
    tuple val(kind), path(networks, stageAs: 'networks/*'), val(_keys) // kind: bundle or weights
    path(sequences, arity: '0..*', stageAs: 'sequences/*')
    path(sites, arity: '0..*', stageAs: 'sites/*')
    path(variants, arity: '0..*', stageAs: 'variants/*')
    path(genome, arity: '0..*')
    path(halflife, arity: '0..*', stageAs: 'halflife/*')
    tuple val(tss_index), val(device)
    val code

    output:
    path('*.tsv.gz', emit: predictions)
    path('task.json', topic: tasks)

    script:
    """
    apply_sequence.py \\
        --${kind} ${networks} \\
        ${sequences ? "--sequences ${sequences}" : ''} ${sites ? "--sites ${sites}" : ''} ${variants ? "--variants ${variants}" : ''} \\
        ${genome ? "--genome ${genome[0]}" : ''} ${halflife ? "--halflife ${halflife}" : ''} ${tss_index.collect { base -> "--tss-index ${base}" }.join(' ')} \\
        --device ${device} \\
        --threads ${task.cpus} \\
        --code ${code} \\
        --task-out task.json \\
        --out ${variants ? 'variants' : 'sequences'}.tsv.gz
    """

    stub:
    """
    touch ${variants ? 'variants' : 'sequences'}.tsv.gz task.json
    """
}

// Predict a start site every few bases along a locus, on both strands.
process TRACK_LOCUS {
    label 'torch'
    label 'gpu'

    input:
    tuple val(kind), path(networks, stageAs: 'networks/*'), val(_keys) // kind: bundle or weights
    path genome
    tuple val(locus), val(step), val(label), val(device)
    val code

    output:
    path('tracks', emit: tracks)
    path('task.json', topic: tasks)

    script:
    """
    track_locus.py \\
        --${kind} ${networks} \\
        --genome ${genome[0]} \\
        --locus '${locus}' \\
        --step ${step} ${label.collect { name -> "--label '${name}'" }.join(' ')} \\
        --device ${device} \\
        --threads ${task.cpus} \\
        --code ${code} \\
        --task-out task.json \\
        --out tracks
    """

    stub:
    """
    mkdir tracks
    touch task.json
    """
}

workflow SEQUENCE {
    take:
    networks // [kind, files, keys], or null where nothing is to be predicted from sequence
    inputs   // {sequences, sites, variants, locus, track_step, track_label, tss_index}
    genome   // [genome.fa.gz, …], or nothing
    features // [promoters/halflife, halflife.tsv.gz] and others
    device

    main:
    given = channel.fromList(networks ? [networks] : [])
    halflife = features.filter { key, _file -> key == 'promoters/halflife' }.map { _key, file -> file }.toList()
    applied = APPLY_SEQUENCE(
        given.filter { inputs.sequences || inputs.sites },
        [inputs.sequences].findAll(),
        [inputs.sites].findAll(),
        [inputs.variants].findAll(),
        genome.ifEmpty([]),
        halflife,
        [inputs.tss_index == null ? [] : [inputs.tss_index], device],
        codeFingerprint(['apply_sequence.py']),
    )
    tiled = TRACK_LOCUS(
        given.filter { inputs.locus },
        genome,
        [inputs.locus, inputs.track_step, [inputs.track_label].findAll(), device],
        codeFingerprint(['track_locus.py']),
    )
    predictions = applied.predictions.mix(channel.empty())
    tracks = tiled.tracks.mix(channel.empty())

    emit:
    predictions
    tracks
}
