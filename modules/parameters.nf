// What the user gave, checked before any task starts: parameters against nextflow_schema.json, and the samplesheet.

include { chooseBundles ; completing ; onlyApplied ; readBundles ; sequenceNetworks ; sequenceWays ; wrongApplication ; wrongSequences } from './applying'
include { ofMatrix ; ofTranscripts ; quantifiedFiles ; readExternal ; wrongIsoforms ; wrongMatrix ; wrongTranscripts } from './measuring'
include { asFile ; onCommandLine ; readSamplesheet ; stopOn ; suggestion ; wrongPath } from './samplesheet'

// Write the parameters of the run for the report.
process WRITE_PARAMETERS {
    input:
    val parameters

    output:
    path 'parameters.json'

    exec:
    task.workDir.resolve('parameters.json').setText(groovy.json.JsonOutput.prettyPrint(groovy.json.JsonOutput.toJson(parameters)) + '\n', 'UTF-8')
}

// Return the checked parameters, one map for each group of the schema; or print the help, or all that is wrong, and stop.
def checkParameters(params) {
    def groups = readSchema()
    def rules = groups.values().collectEntries { group -> group.properties }
    def given = rules.collectEntries { name, rule -> [name, typed(params[name], rule.type)] }
    def values = given.apply ? onlyApplied(given, rules) : (given.matrix ? ofMatrix(given, rules) : (given.transcripts ? ofTranscripts(given, rules) : given))
    if (values.version == true) {
        println("${workflow.manifest.name} ${workflow.manifest.version}, Nextflow ${workflow.nextflow.version}")
        System.exit(0)
    }
    if (values.help && values.help != 'false') {
        println(values.help == 'true' ? helpText(groups) : helpOn(values.help, rules))
        System.exit(0)
    }
    def wrong = (rules - [help: rules.help]).collectEntries { name, rule -> [name, wrongValue(name, values[name], rule)] }
    def sheet = values.samples && !wrong.samples ? readSamplesheet(asFile(values.samples)) : [samples: [], problems: [], ignored: []]
    def external = values.external && !wrong.external ? readExternal(asFile(values.external)) : [rows: [], problems: []]
    def applied = values.apply && !wrong.apply ? readBundles(asFile(values.apply)) : [bundles: [], problems: []]
    def isoforms = wrong.transcripts || values.apply ? [] : wrongIsoforms(values, values.transcripts ? asFiles(values.transcripts, rules.transcripts.format) : [])
    def ofSequence = sequenceWays(values) || values.weights
    def asked = withoutEffect(values, rules) + wrongFolds(values) + wrongLevels(values) + isoforms + (wrong.samples ? [] : wrongSources(values, sheet, external.rows)) + (wrong.families ? [] : unknownFamilies(values.families))
    def ways = ofSequence ? wrongSequences(given, rules, applied.bundles) : (values.apply ? wrongApplication(given, rules, sheet, applied.bundles) : asked)
    stopOn(unknownNames(params.keySet(), rules) + wrong.values().flatten() + applied.problems + ways + sheet.problems + external.problems)
    notes(values, sheet).each { line -> log.warn(line) }
    def bundles = ofSequence || values.matrix ? [] : chooseBundles(values, applied.bundles)
    def opened = rules.collectEntries { name, rule -> [name, openFiles(values[name], rule.format)] } + [samples: sheet.samples, external: external.rows, families: values.apply || ofSequence || values.families == 'none' ? [] : splitFamilies(values.families)]
    def settled = opened + (bundles ? [bin_bp: bundles[0].bin_bp, assembly: bundles[0].assembly] : [:])
    def shown = (bundles ? values + [families: bundles*.family.join(',')] + bundles[0].subMap(['bin_bp', 'assembly']) : values).findAll { name, value -> value != null && !(name in ['outdir', 'help', 'version']) }
    groups.collectEntries { key, group -> [key, settled.subMap(group.properties.keySet())] } + [shown: shown, bundles: bundles, networks: sequenceNetworks(values, applied.bundles), completed: completing(values, applied.bundles), computed: [halflife: familiesThatRead(values.families, 'promoters/halflife') as boolean, of_bases: familiesThatRead(values.families, 'promoters/sequence'), of_isoforms: familiesThatRead(values.families, 'lists/splicing_factor'), of_shares: familiesThatRead(values.families, 'fraction')]]
}

// Return {group: {title, description, properties: {name: rule}}} of nextflow_schema.json.
def readSchema() {
    new groovy.json.JsonSlurper().parse(file("${projectDir}/nextflow_schema.json").toFile()).get('$defs')
}

// Return a value as its type in the schema, or its text where it does not look like that: the command line gives strings.
def typed(value, type) {
    def text = value == null ? '' : value.toString().trim()
    if (type == 'boolean' && text in ['true', 'false']) {
        return text == 'true'
    }
    if (type == 'integer' && text ==~ /[+-]?\d{1,9}/) {
        return text.toInteger()
    }
    if (type == 'number' && text.isBigDecimal()) {
        return text.toBigDecimal()
    }
    text ?: null
}

// Return a line for each name that the schema lacks.
def unknownNames(names, rules) {
    def engine = ['resume', 'profile', 'stub', 'bg', 'name'].collectEntries { name -> [name, name] } + [paramsFile: 'params-file', workDir: 'work-dir', ansiLog: 'ansi-log']
    names.findAll { name -> !rules.containsKey(name) }.collect { name ->
        def hint = engine[name] ? "; Nextflow's own option has one dash: -${engine[name]}" : suggestion(name, rules.keySet(), '--')
        "--${name}: there is no such parameter${hint}; --help lists all"
    }
}

// Return what is wrong with one value: no line or one.
def wrongValue(name, value, rule) {
    def nouns = [boolean: 'true or false', integer: 'a whole number', number: 'a number']
    def least = rule.minimum
    def most = rule.maximum
    if (value == null) {
        return rule.default != null ? ["--${name}: a value is needed"] : []
    }
    if (rule.type == 'string' && value == 'true') { // what Nextflow makes of a parameter with nothing after it
        return ["--${name}: a value is needed"]
    }
    if (value instanceof String && nouns[rule.type]) {
        return ["--${name} ${value}: ${nouns[rule.type]} is needed"]
    }
    if (rule['enum'] && !(value in rule['enum'])) {
        return ["--${name} ${value}: choose from ${rule['enum'].join(', ')}"]
    }
    if (rule.pattern && !(value ==~ rule.pattern)) {
        return ["--${name} ${value}: not possible; it should look like ${rule.examples ? rule.examples[0] : rule.default}"]
    }
    if ((least != null && value < least) || (most != null && value > most)) {
        return ["--${name} ${value}: from ${least} to ${most} is possible"]
    }
    rule.format ==~ /(file-)?path.*/ ? asFiles(value, rule.format).collect { path -> wrongPath(path) }.findAll().collect { problem -> "--${name}: ${problem}" } : []
}

// Return a line for each parameter of the command line that has no effect beside the others; a profile may hold what one run does not use.
def withoutEffect(values, rules) {
    def idle = rules.findAll { name, rule -> rule.used_with && onCommandLine(name) && !rule.used_with.any { other -> values[other] } }
    def counts = ['folds', 'gene_folds'].findAll { name -> onCommandLine(name) && values.fold_table }
    idle.collect { name, rule -> "--${name}: has no effect without --${rule.used_with.join(' or --')}${values.dataset ? ': a dataset keeps what it was made with' : ''}" } +
        counts.collect { name -> "--${name}: has no effect beside --fold_table, which has its own folds" }
}

// Return what cannot be held out: samples by models of genes, paralogs that nothing tells of, and two axes of one table.
def wrongFolds(values) {
    def untold = values.samples && !values.fasta && !values.paralogs
    def genes = (values.samples || values.simulate) && values.hold_out != 'genes' ? familiesWith(values.families, '(?m)^EXAMPLES\\b.*= "genes"') : []
    [
        genes ? "--hold_out ${values.hold_out}: --families ${genes.join(',')} has one example a gene; give --hold_out genes" : null,
        untold && values.hold_out != 'samples' && values.gene_groups =~ 'paralogs' ? "--gene_groups ${values.gene_groups}: which genes are paralogs is not known; give --paralogs, or --fasta, whose promoters are compared" : null,
        values.fold_table && values.hold_out == 'both' ? '--hold_out both: a --fold_table splits samples or genes; give --hold_out samples or --hold_out genes' : null,
    ].findAll()
}

// Return what is wrong with the family whose genes isoforms are parts of: no line or one.
def wrongLevels(values) {
    def chosen = splitFamilies(values.families ?: '').collect { family, _preset -> family }
    def shares = familiesThatRead(values.families, 'fraction')
    def wrong = shares ? (values.isoform_genes in chosen - shares ? null : "--families ${values.families} predicts no genes by that name") : 'no family of this run predicts shares of isoforms'
    values.isoform_genes && wrong ? ["--isoform_genes ${values.isoform_genes}: ${wrong}"] : []
}

// Return what is wrong with the way in: exactly one of files, ready promoters, a matrix, a dataset and a simulation, and with files all that they need.
def wrongSources(values, sheet, external) {
    def files = ['samples', 'gtf', 'gene_table', 'cage', 'fasta', 'chrom_sizes', 'transcript_fasta', 'expression']
    def given = (files + ['promoters', 'matrix', 'dataset'] + (values.samples ? [] : ['transcripts'])).findAll { name -> values[name] } + (values.simulate == true ? ['simulate'] : [])
    def ways = given.collect { name -> name in files ? 'files' : name }.unique()
    if (!given) {
        return ['nothing to work on: give --samples with --gtf and --fasta (and --transcript_fasta for reads, or --expression); or --promoters with --labels; or --matrix with --landmarks and --targets; or --transcripts with --factors; or --dataset; or --simulate']
    }
    if (ways.size() > 1) {
        return ["--${given.join(', --')}: give only one of files, --promoters, --matrix, --transcripts, --dataset and --simulate"]
    }
    def checks = [matrix: { wrongMatrix(values, external) }, transcripts: { wrongTranscripts(values) }, files: { sheet.problems ? [] : wrongFiles(values, sheet.samples) }]
    def own = checks[ways[0]] ? checks[ways[0]].call() : []
    wrongReading(values, ways[0]) + own + (ways[0] in ['files', 'promoters'] && !values.samples ? wrongGenesAlone(values) : [])
}

// Return what is wrong where families that read landmark genes have no lists of them, those that read factors no transcripts, or there is nothing for the chosen ones.
def wrongReading(values, way) {
    def known = knownFamilies().keySet()
    def chosen = splitFamilies(values.families ?: '').collect { family, _preset -> family }.findAll { family -> family in known }
    def readers = [matrix: ['landmark genes', '(?m)^from exprcast\\.landmarks import INPUTS|"lists/landmark"'], transcripts: ['splicing factors', '"lists/splicing_factor"']]
        .collectEntries { name, words -> [name, [what: words[0], families: familiesWith(known.join(','), words[1])]] }
    def blind = readers[way] ? chosen - readers[way].families : []
    def lost = readers.collectEntries { name, reader -> [name, chosen.findAll { family -> family in reader.families }] }
    def landmarks = way == 'promoters' || (way == 'files' && !(values.landmarks && values.targets))
    def factors = way == 'promoters' || (way == 'files' && !values.factors) || (way == 'simulate' && !values.simulate_reads)
    [
        blind ? "--families ${blind.join(',')}: reads no ${readers[way].what}, and ${way == 'matrix' ? 'a matrix has' : 'transcripts have'} nothing else; choose from ${(readers[way].families + ['none']).join(', ')}" : null,
        landmarks && lost.matrix ? "--families ${lost.matrix.join(',')}: reads landmark genes; give --landmarks and --targets, with --matrix or --samples" : null,
        factors && lost.transcripts ? "--families ${lost.transcripts.join(',')}: reads splicing factors; give --factors, with reads or --transcripts" : null,
    ].findAll()
}

// Return what is wrong where there are genes and no samples.
def wrongGenesAlone(values) {
    def closed = familiesThatRead(values.families, 'accessibility/bin')
    [
        values.families != 'none' && values.hold_out != 'genes' ? "--hold_out ${values.hold_out}: there are no samples; give --hold_out genes" : null,
        closed ? "--families ${closed.join(',')}: reads open chromatin, and there are no samples; choose a family that reads promoters" : null,
        values.labels && values.gtf && !values.fasta ? '--fasta is needed: models of genes alone read promoters' : null,
    ].findAll()
}

// Return what a user should know of a samplesheet that is not wrong.
def notes(values, sheet) {
    def groups = (values.group_by ?: '').tokenize(',').findAll { column -> sheet.samples.every { row -> row.containsKey(column) } }
    def empty = !values.apply && sheet.samples && groups && sheet.samples.every { row -> groups.every { column -> !row[column] } }
    [
        sheet.ignored ? "${asFile(values.samples).name}: columns that mean nothing here are passed over: ${sheet.ignored.join(', ')}" : null,
        empty && values.families != 'none' ? "${asFile(values.samples).name}: no sample has a ${groups.join(', ')}: samples that belong together may be split between training and test" : null,
    ].findAll()
}

// Return what is lacking or too much beside a samplesheet.
def wrongFiles(values, samples) {
    def reads = samples.findAll { row -> row.reads_1 }
    def silent = samples.find { row -> !row.reads_1 }
    def closed = samples.find { row -> !row.peaks }
    [
        samples || (values.labels && !values.expression) ? null : 'files without a samplesheet: give --samples, too',
        oneOf(values, ['gtf', 'gene_table'], 'where genes lie'),
        oneOf(values, ['fasta', 'chrom_sizes'], 'how long chromosomes are'),
        (values.landmarks == null) == (values.targets == null) ? null : '--landmarks, --targets: give both lists or none: the genes that others are predicted from, and those others',
        reads && !values.transcript_fasta ? "--transcript_fasta is needed: sample ${reads[0].sample} has reads; give the cDNA (and ncRNA) FASTA of the annotation" : null,
        values.transcript_fasta && samples && !reads ? '--transcript_fasta is for reads, and no sample has reads_1' : null,
        silent && !values.expression && !values.transcripts ? "sample ${silent.sample} has no reads_1: give --expression, a table that has it" : null,
        reads && values.expression && values.expression_unit != 'tpm' ? "--expression_unit ${values.expression_unit}: reads give TPM, so the tables beside them must be TPM, too" : null,
        closed && familiesThatRead(values.families, 'accessibility/bin') ? "sample ${closed.sample} has no peaks, and --families ${values.families} reads open chromatin; --families none stops at the tables" : null,
    ].findAll()
}

// Return what is wrong unless exactly one of two parameters is given, or null.
def oneOf(values, names, what) {
    def given = names.findAll { name -> values[name] }
    given.size() == 1 ? null : "--${names.join(given ? ', --' : ' or --')}: ${given ? 'give only one of them' : 'is needed'}; it says ${what}"
}

// Return {family: [preset, …]} of the families' files.
def knownFamilies() {
    file("${projectDir}/bin/exprcast/families/[a-z]*.py").toSorted { path -> path.baseName }.collectEntries { path ->
        def block = path.getText('UTF-8').find(/(?ms)^PRESETS = \{.*?^(?=[^\s}]|\z)/)
        [path.baseName, block.findAll(/"(\w+)": *(?:\w+ *\| *)?\{/) { _all, preset -> preset }]
    }
}

// Return the chosen families whose file names an entry of the dataset.
def familiesThatRead(families, entry) {
    familiesWith(families, "\"${entry}\"")
}

// Return the chosen families whose file holds a regular expression.
def familiesWith(families, expression) {
    (families ?: '').tokenize(',').collect { family -> family.tokenize(':')[0] }.findAll { family ->
        def source = asFile("${projectDir}/bin/exprcast/families/${family}.py")
        source.exists() && source.getText('UTF-8') =~ expression
    }
}

// Return a line for each family that has no file or no such preset, and for one that is named twice.
def unknownFamilies(families) {
    def chosen = splitFamilies(families)
    def names = chosen.collect { name, _preset -> name }
    def known = knownFamilies()
    if (names == ['none']) {
        return []
    }
    def unknown = names.unique(false).findAll { name -> !known.containsKey(name) }.collect { name -> "--families ${name}: there is no such family; choose from ${known.keySet().join(', ')}, or none" }
    def presets = chosen.findAll { name, preset -> known.containsKey(name) && !(preset in known[name]) }
        .collect { name, preset -> "--families ${name}:${preset}: ${name} has no preset ${preset}; choose from ${known[name].join(', ')}" }
    unknown + presets + names.countBy { name -> name }.findAll { _name, count -> count > 1 }.keySet().collect { name -> "--families ${name}: named twice; one preset of a family fits in a run" }
}

// Return [[family, preset], …] of 'atac_cis:quick,xpresso'.
def splitFamilies(families) {
    families.tokenize(',').collect { family -> (family.tokenize(':') + ['default']).take(2) }
}

// Return the paths that a value names.
def asFiles(value, format) {
    if (format == 'path-of-samples') {
        return asFile(value).isDirectory() ? quantifiedFiles(asFile(value)) : [asFile(value)]
    }
    format == 'path' ? readyFiles(asFile(value)) : (format == 'file-path-list' ? value.tokenize(',').collect { part -> asFile(part.trim()) } : [asFile(value)])
}

// Return a table of promoters; or Xpresso's three files, of which the folder or any one is named.
def readyFiles(path) {
    def folder = path.isDirectory() ? path : path.parent
    path.isDirectory() || path.name ==~ /(train|valid|test)\.h5/ ? ['train', 'valid', 'test'].collect { part -> folder.resolve("${part}.h5") } : [path]
}

// Return a value with its paths opened: a path, or a sorted list where there may be several; other values as they are.
def openFiles(value, format) {
    def paths = value != null && format ==~ /(file-)?path.*/ ? asFiles(value, format) : []
    format in ['path', 'path-of-samples', 'file-path-list'] ? paths.toSorted { path -> path.toString() } : (paths ? paths[0] : value)
}

// Return all parameters by group, ready to print.
def helpText(groups) {
    def sections = groups.values().collect { group ->
        def lines = group.properties.collect { name, rule -> "  --${name.padRight(19)} ${rule.description}${helpDetails(rule)}" }
        ([group.title, group.description ? "  ${group.description}" : null] + lines).findAll().join('\n')
    }
    (["${workflow.manifest.name} ${workflow.manifest.version}: ${workflow.manifest.description}"] + sections).join('\n\n')
}

// Return ' [choices; default value]' for a line of the help.
def helpDetails(rule) {
    def details = [possibleValues(rule), rule.default ? "default ${rule.default}" : null].findAll()
    details ? " [${details.join('; ')}]" : ''
}

// Return the values that a parameter may have, or null where the description says it.
def possibleValues(rule) {
    rule['enum']?.join(', ') ?: (rule.minimum != null ? "${rule.minimum} to ${rule.maximum}" : null)
}

// Return all that is known of one parameter, named with or without dashes.
def helpOn(given, rules) {
    def name = given.replaceFirst('^--', '')
    def rule = rules[name]
    if (!rule) {
        error("--help ${given}: there is no such parameter${suggestion(name, rules.keySet(), '')}; --help lists all")
    }
    def kinds = ['path': 'a file or a folder', 'path-of-samples': 'a file or a folder', 'file-path': 'a file', 'file-path-list': 'files, separated by commas', 'directory-path': 'a folder']
    def nouns = [boolean: 'true or false', integer: 'a whole number', number: 'a number', string: 'text']
    def facts = [
        value: rule['enum'] ? possibleValues(rule) : [kinds[rule.format] ?: nouns[rule.type], possibleValues(rule)].findAll().join(', '),
        'default': rule.default == null ? 'none' : rule.default,
        example: rule.examples ? "--${name} ${rule.examples[0]}" : null,
        families: name == 'families' ? knownFamilies().collect { family, presets -> "${family} (${presets.collect { preset -> "${family}:${preset}" }.join(', ')})" }.join('; ') : null,
        'with': rule.used_with ? "--${rule.used_with.join(' or --')}" : null,
    ].findAll { _fact, text -> text != null }
    (["--${name}: ${rule.description}", rule.help_text].findAll() + facts.collect { fact, text -> "  ${fact.padRight(8)} ${text}" }).join('\n')
}

// Return what to say when the run has ended: what was made and where, or what failed, what that means, and how to go on.
// The last line of a failure is the one that the failed script wrote.
def closingLines(options) {
    workflow.success ? madeLines(options) : failedLines(workflow.errorReport ?: '', workflow.errorMessage ?: '')
}

def madeLines(options) {
    def folder = asFile(options.run.outdir).toAbsolutePath()
    def tables = [report: 'report.html', tables: 'tables/']
    def all = options.networks || options.completed ? [predictions: 'predictions/', tracks: 'tracks/'] : options.models.families || options.bundles ? [report: 'report.html', scores: 'scores.tsv', predictions: 'predictions/', tracks: 'tracks/', tables: 'tables/'] : tables
    def tasks = "${workflow.stats.succeedCount} tasks run, ${workflow.stats.cachedCount} taken from an earlier run"
    (["", "Done in ${workflow.duration}: ${tasks}."] + all.findAll { _what, name -> folder.resolve(name).exists() }.collect { what, name -> "  ${what.padRight(12)} ${folder}/${name}" }).join('\n')
}

def failedLines(report, message) {
    def task = report =~ /Error executing process > '(.+)'/
    def folder = report =~ /Work dir:\s+(\S+)/
    def lines = message.readLines().findAll { line -> line.trim() }
    def facts = [
        failed: task.find() ? task.group(1) : null,
        meaning: task.find(0) ? exitMeaning(workflow.exitStatus) : null,
        'work folder': folder.find() ? "${folder.group(1)} (.command.sh is what ran, .command.err what it said)" : null,
        'to go on': task.find(0) ? "${workflow.exitStatus == 1 ? 'mend that, then ' : ''}${workflow.commandLine.replaceFirst('^nextflow ', (System.getenv('EXPRCAST_LAUNCHER') ?: 'nextflow') + ' ')}${workflow.resume ? '' : ' -resume'}" : null,
    ].findAll { _fact, text -> text }
    ([""] + facts.collect { fact, text -> "${fact.padRight(12)} ${text}" } + lines.takeRight(1)).join('\n')
}

// Return what an exit status means, in the words of who has to act on it.
def exitMeaning(status) {
    def killed = 'killed, most often for want of memory; it was tried again with more each time'
    def late = 'stopped by its time limit or by the cluster; it was tried again with more time'
    def meanings = [
        1: 'its input cannot be used; the last line says what and where',
        2: 'it was called with options that it does not have; this is a fault of exprcast',
        75: 'something temporary, most often the network, did not get better; try again later',
        126: 'a program may not be executed; was the pipeline copied without file modes?',
        127: 'a program is missing; start with envs/nextflow/nextflow, or a profile that brings the programs',
        137: killed, 140: late, 143: late, 2147483647: 'the job vanished without a word: killed for want of memory, or its node was lost',
    ]
    "exit status ${status}: ${meanings[status] ?: 'not one of ours; the lines above say more'}"
}
