// What --apply needs, checked before any task starts: bundles that a run left behind, new samples, and nothing that the bundles settle.

include { asFile ; onCommandLine ; suggestion ; wrongName } from './samplesheet'

// Return {bundles: [{family, path, folds, assembly, bin_bp}, …], problems} of a folder models/, or of one bundle in it. Digests are compared by a task.
def readBundles(folder) {
    if (wrongName(folder)) {
        return [bundles: [], problems: ["--apply: ${wrongName(folder)}"]]
    }
    def summaries = folder.resolve('bundle.json').exists() ? [folder.resolve('bundle.json')] : files("${folder}/*/bundle.json").toSorted { path -> path.toString() }
    if (!summaries) {
        def hint = folder.resolve('models').isDirectory() ? "; it has a folder models: give --apply ${folder}/models" : '; give the folder models of a finished run'
        return [bundles: [], problems: ["--apply: ${folder.exists() ? "no bundle in ${folder}${hint}" : "folder not found: ${folder}"}"]]
    }
    def read = summaries.collect { path -> readBundle(path) }
    def bundles = read.findAll { one -> !(one instanceof CharSequence) }
    def twice = bundles.groupBy { bundle -> bundle.family }.findAll { _family, same -> same.size() > 1 }
        .collect { family, same -> "--apply: ${same*.path.join(' and ')} are both bundles of ${family}; one of a family can be applied at a time" }
    [bundles: bundles, problems: read.findAll { one -> one instanceof CharSequence } + twice]
}

// Return what a bundle says of itself, or why it cannot be used.
def readBundle(path) {
    def facts = parseBundle(path)
    def sound = facts instanceof Map && facts.family ==~ /[A-Za-z0-9][A-Za-z0-9._-]*/ && facts.assembly instanceof String && facts.bin_bp instanceof Integer &&
        facts.folds instanceof List && facts.folds && facts.folds.every { fold -> fold instanceof Integer && fold >= 0 }
    sound ? facts.subMap(['family', 'folds', 'assembly', 'bin_bp']) + [path: path.parent, key: keyOf(path.parent)] : "--apply: ${path} is damaged or of no exprcast bundle; copy the whole folder again"
}

// Return what tells a folder from what it was before: Nextflow hashes only the name of a folder. Names, sizes and times of its files are in it.
def keyOf(folder) {
    files("${folder}/*").toSorted { path -> path.name }.collect { path -> "${path.name} ${path.size()} ${path.lastModified()}" }.join('\n').md5()
}

def parseBundle(path) {
    try {
        path.size() < 1_048_576 ? new groovy.json.JsonSlurper().parse(path.toFile(), 'UTF-8') : null
    }
    catch (groovy.json.JsonException _problem) {
        null
    }
    catch (StackOverflowError _problem) { // brackets a hundred thousand deep
        null
    }
}

// Return the bundles that --families names, or all (the ensemble needs the others) but those that read landmark genes of samples whose RNA is not given.
def chooseBundles(values, bundles) {
    def chosen = named(values)
    def able = values.samples && !values.expression ? bundles.findAll { bundle -> !(bundle.family ==~ /dgex(_transductive)?/) } : bundles
    chosen && !('ensemble' in chosen) ? bundles.findAll { bundle -> bundle.family in chosen } : able ?: bundles
}

// Return the families of --families, or nothing where it was not given.
def named(values) {
    onCommandLine('families') ? values.families.tokenize(',').collect { family -> family.tokenize(':')[0] } : []
}

// Return what is wrong beside --apply: no line or several.
def wrongApplication(values, rules, sheet, bundles) {
    def idle = rules.keySet().findAll { name -> onCommandLine(name) && (!(name in chosenByUser()) || name in ['fasta', 'halflife']) && values[name] != false }
    def known = bundles.collect { bundle -> bundle.family }
    def unknown = named(values).findAll { family -> !(family in known) }
    def reads = sheet.samples.find { row -> row.reads_1 }
    def closed = sheet.samples.find { row -> !row.peaks }
    def own = asFile(values.apply).toAbsolutePath().normalize()
    def out = asFile(values.outdir ?: 'results').toAbsolutePath().normalize()
    idle.collect { name -> "--${name}: has no effect beside --apply; bundles hold what was learnt, and with what" } + (values.matrix ? wrongCompletion(values, bundles) : []) + [
        values.samples || values.dataset || values.matrix ? null : '--apply: new samples are needed; give --samples with their peaks, or --matrix, or --dataset',
        values.samples && values.dataset ? '--samples, --dataset: give only one of them' : null,
        values.dataset && values.expression ? '--expression: has no effect beside --dataset' : null,
        reads ? "sample ${reads.sample} has reads_1: beside --apply RNA comes as a table; quantify with --families none first, then give --expression" : null,
        closed ? "sample ${closed.sample} has no peaks, which the models read" : null,
        known && unknown ? "--families ${unknown.join(',')}: no such bundle in ${values.apply}${suggestion(unknown[0], known, '')}; there are ${known.join(', ')}" : null,
        own.startsWith(out) ? "--outdir ${values.outdir}: the models that are applied lie in there; name another folder, for example --outdir applied" : null,
    ].findAll() + settled(values, rules, bundles)
}

// Return what is wrong where the landmarks of a matrix are completed: no line or several.
def wrongCompletion(values, bundles) {
    def others = ['samples', 'dataset', 'expression'].findAll { name -> values[name] }
    [
        others ? "--matrix, --${others.join(', --')}: give only one of them beside --apply" : null,
        bundles && !completing(values, bundles) ? "--matrix: no chosen bundle in ${values.apply} completes landmark genes, as one of dgex does; there are ${bundles*.family.join(', ')}" : null,
        values.matrix_unit == 'counts' ? '--matrix_unit counts: a total over landmarks says nothing; give CPM or TPM' : null,
    ].findAll()
}

// Return [family, folder, key] of the bundle that completes a matrix, or null.
def completing(values, bundles) {
    def own = values.apply && values.matrix ? chooseBundles(values, bundles).find { bundle -> bundle.family == 'dgex' } : null
    own ? [own.family, own.path, own.key] : null
}

// Return what is predicted from sequence, of --sequences, --sites and --locus.
def sequenceWays(values) {
    ['sequences', 'sites', 'locus'].findAll { name -> values[name] }
}

// Return what is wrong where networks are applied to sequence: no line or several.
def wrongSequences(values, rules, bundles) {
    def ways = sequenceWays(values)
    def known = ways + ['weights', 'apply', 'variants', 'tss_index', 'track_step', 'track_label', 'fasta', 'halflife', 'device', 'outdir', 'help', 'version', 'seed', 'assembly']
    def idle = rules.keySet().findAll { name -> onCommandLine(name) && !(name in known) && values[name] != false }
    idle.collect { name -> "--${name}: has no effect beside --${ways ? ways[0] : 'weights'}" } + [
        ways ? null : '--weights: nothing to predict; give --sequences, --sites or a --locus',
        values.weights && values.apply ? '--weights, --apply: give only one of them' : null,
        values.weights || values.apply ? null : "--${ways[0]}: networks are needed; give --apply with the folder models/ of a run of xpresso, or --weights",
        values.apply && bundles && !('xpresso' in bundles*.family) ? "--${ways[0]}: no bundle in ${values.apply} reads sequence; there are ${bundles*.family.join(', ')}" : null,
        values.sequences && values.sites ? '--sequences, --sites: give only one of them' : null,
        (values.sites || values.locus) && !values.fasta ? "--${values.sites ? 'sites' : 'locus'}: --fasta, the genome, is needed" : null,
        values.halflife && values.weights ? '--halflife: published weights take six features of which nobody knows the meaning; zeros are fed, leave it out' : null,
    ].findAll()
}

// Return [kind, files, keys] of the networks that read sequence, or null.
def sequenceNetworks(values, bundles) {
    if (!sequenceWays(values)) {
        return null
    }
    def own = bundles.findAll { bundle -> bundle.family == 'xpresso' }
    values.weights ? ['weights', values.weights.tokenize(',').collect { part -> asFile(part.trim()) }, ''] : ['bundle', own*.path, own*.key]
}

// Return the parameters that mean something beside --apply.
def chosenByUser() {
    ['families', 'samples', 'dataset', 'matrix', 'matrix_unit', 'matrix_features', 'landmarks', 'expression', 'expression_unit', 'expression_columns', 'duplicate_genes', 'admit_misaligned', 'exclude', 'assembly', 'bin_bp', 'sequences', 'tss_index', 'sites', 'variants', 'locus', 'track_step', 'track_label', 'weights', 'fasta', 'halflife', 'device', 'precision', 'seed', 'outdir', 'apply', 'help', 'version']
}

// Return the values with all others as if nobody had given them: a profile or a file of parameters may hold what training needed.
def onlyApplied(values, rules) {
    values.collectEntries { name, value -> [name, name in chosenByUser() ? value : rules[name]['default']] }
}

// Return a line for each value that is another than the bundles' and than the default.
def settled(values, rules, bundles) {
    ['assembly', 'bin_bp'].findAll { name -> bundles && values[name] != bundles[0][name] && (onCommandLine(name) || values[name] != rules[name]['default']) }
        .collect { name -> "--${name} ${values[name]}: bundle ${bundles[0].family} was trained with ${bundles[0][name]}; leave it out if that is what the new samples are" }
}
