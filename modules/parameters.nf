// What the user gave, checked before any task starts: parameters against nextflow_schema.json, and the samplesheet.

// Return the checked parameters, one map for each group of the schema; or print the help, or all that is wrong, and stop.
def checkParameters(params) {
    def groups = readSchema()
    def rules = groups.values().collectEntries { group -> group.properties }
    def values = rules.collectEntries { name, rule -> [name, typed(params[name], rule.type)] }
    if (values.help == true) {
        println(helpText(groups))
        System.exit(0)
    }
    stopOn(unknownNames(params.keySet(), rules) + rules.collectMany { name, rule -> wrongValue(name, values[name], rule) } + wrongSources(values))
    def sheet = values.samples ? readSamplesheet(asFile(values.samples)) : [rows: [], problems: []]
    stopOn(unknownFamilies(values.families) + sheet.problems)
    def opened = rules.collectEntries { name, rule -> [name, openFiles(values[name], rule.format)] } + [samples: sheet.rows, families: splitFamilies(values.families)]
    def shown = values.findAll { name, value -> value != null && !(name in ['outdir', 'help']) }
    groups.collectEntries { key, group -> [key, opened.subMap(group.properties.keySet())] } + [shown: shown]
}

// Return {group: {title, description, properties: {name: rule}}} of nextflow_schema.json.
def readSchema() {
    new groovy.json.JsonSlurper().parse(file("${projectDir}/nextflow_schema.json").toFile()).get('$defs')
}

// Stop the run with one line a problem, if there is one.
def stopOn(problems) {
    if (problems) {
        error(problems.join('\n'))
    }
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
    rule.format ==~ /file-path.*/ ? asFiles(value, rule.format).collect { path -> wrongPath(path) }.findAll().collect { problem -> "--${name}: ${problem}" } : []
}

// Return what is wrong with the way in: exactly one of tables, dataset and simulation is needed, and tables are needed all four.
def wrongSources(values) {
    def tables = ['samples', 'gene_table', 'chrom_sizes', 'expression']
    def given = (tables + ['dataset']).findAll { name -> values[name] } + (values.simulate == true ? ['simulate'] : [])
    def ways = given.collect { name -> name in tables ? 'samples' : name }.unique()
    def lacking = 'samples' in ways ? tables - given : []
    if (!given) {
        return ['nothing to work on: give --samples with --gene_table, --chrom_sizes and --expression; or --dataset; or --simulate']
    }
    if (ways.size() > 1) {
        return ["--${given.join(', --')}: give only one of tables, --dataset and --simulate"]
    }
    lacking ? ["--${given[0]} needs --${lacking.join(', --')}, too"] : []
}

// Return a line for each family that has no file, and for one that is named twice.
def unknownFamilies(families) {
    def names = splitFamilies(families).collect { name, _preset -> name }
    def known = file("${projectDir}/bin/exprcast/families/[a-z]*.py").collect { path -> path.baseName }.toSorted()
    def unknown = names.unique(false).findAll { name -> !(name in known) }.collect { name -> "--families ${name}: there is no such family; choose from ${known.join(', ')}" }
    unknown + names.countBy { name -> name }.findAll { _name, count -> count > 1 }.keySet().collect { name -> "--families ${name}: named twice; one preset of a family fits in a run" }
}

// Return [[family, preset], …] of 'atac_cis:quick,xpresso'.
def splitFamilies(families) {
    families.tokenize(',').collect { family -> (family.tokenize(':') + ['default']).take(2) }
}

// Return a path, never a glob; relative ones count from the folder where Nextflow was started.
def asFile(text) {
    file(text, glob: false)
}

// Return what is wrong with a file that a task will read, or null. Nextflow does not quote some characters for the shell.
def wrongPath(path) {
    if (path.toString() =~ /[$`*?\\\[\]{}\p{Cntrl}]/) {
        return "a path may not hold any of \$ ` * ? \\ [ ] { }, please rename: ${path}"
    }
    path.exists() ? (path.isDirectory() ? "this is a folder, not a file: ${path}" : null) : "file not found: ${path}"
}

// Return the paths that a value names.
def asFiles(value, format) {
    format == 'file-path-list' ? value.tokenize(',').collect { part -> asFile(part.trim()) } : [asFile(value)]
}

// Return a value with its paths opened: a path, or a sorted list of them; other values as they are.
def openFiles(value, format) {
    def paths = value != null && format ==~ /file-path.*/ ? asFiles(value, format) : []
    format == 'file-path-list' ? paths.toSorted { path -> path.toString() } : (paths ? paths[0] : value)
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
    def limits = rule.minimum != null ? "${rule.minimum} to ${rule.maximum}" : null
    def details = [rule['enum']?.join(', '), limits, rule.default ? "default ${rule.default}" : null].findAll()
    details ? " [${details.join('; ')}]" : ''
}

// Return {rows, problems} of a samplesheet: CSV, TSV or semicolons, with or without byte order mark, Windows line ends and quotes.
// A row is {sample, donor, biosample, replicate_group, batch, peaks: path}; rows are sorted by sample.
def readSamplesheet(path) {
    def lines = path.getText('UTF-8').replaceFirst('^\uFEFF', '').readLines().withIndex(1).findAll { line, _number -> line.trim() }
    if (lines.size() < 2) {
        return [rows: [], problems: ["${path.name}: no samples; a header and one line a sample are needed"]]
    }
    def separator = ['\t', ';', ','].max { mark -> lines[0][0].count(mark) }
    def header = splitLine(lines[0][0], separator).collect { name -> name.toLowerCase().replaceAll('[ -]', '_') }
    def cells = lines.tail().collect { line, number -> [number, splitLine(line, separator)] }
    def problems = wrongHeader(path.name, header) + cells.findAll { _number, row -> row.size() != header.size() }
        .collect { number, row -> "${path.name} line ${number}: ${row.size()} cells where the header has ${header.size()}" }
    if (problems) {
        return [rows: [], problems: problems]
    }
    def rows = cells.collect { number, row -> [line: number] + sampleRow([header, row].transpose().collectEntries(), path.parent) }
    [rows: rows.collect { row -> row.findAll { key, _value -> key != 'line' } }.toSorted { row -> row.sample }, problems: wrongRows(path.name, rows)]
}

// Return the cells of one line, without quotes and outer blanks.
def splitLine(line, separator) {
    def cells = "${separator}${line}".findAll("${separator}\\s*(\"(?:[^\"]|\"\")*\"|[^${separator}]*)") { _all, cell -> cell.trim() }
    cells.collect { cell -> cell.startsWith('"') ? cell.replaceFirst('^"(.*)"$', '$1').replace('""', '"') : cell }
}

// Return one sample: every column present, the peaks as a path that counts from the sheet's folder.
def sampleRow(cells, folder) {
    def texts = sampleColumns().collectEntries { column -> [column, cells[column] ?: ''] }
    def outside = texts.peaks.startsWith('/') || texts.peaks.contains('://')
    texts + [peaks: texts.peaks ? asFile(outside ? texts.peaks : "${folder}/${texts.peaks}") : null]
}

def sampleColumns() {
    ['sample', 'donor', 'biosample', 'replicate_group', 'batch', 'peaks']
}

// Return what is wrong with the header: columns lacking or twice, or misspelt (others are the user's own and ignored).
def wrongHeader(name, header) {
    def lacking = ['sample', 'peaks'] - header
    def twice = header.countBy { column -> column }.findAll { _column, count -> count > 1 }.keySet()
    def misspelt = header.findAll { column -> !(column in sampleColumns()) && suggestion(column, sampleColumns() - header, '') }
    lacking.collect { column -> "${name}: no column ${column}; the header has ${header.join(', ')}" } +
        twice.collect { column -> "${name}: column ${column} occurs twice" } +
        misspelt.collect { column -> "${name}: column ${column} is not known${suggestion(column, sampleColumns() - header, '')}" }
}

// Return a line for each thing wrong with rows: ids that are no file names or occur twice, peaks lacking, control characters.
def wrongRows(name, rows) {
    def firsts = rows.reverse().collectEntries { row -> [row.sample, row.line] }
    rows.collectMany { row ->
        def where = "${name} line ${row.line}"
        def column = "${where} (sample ${row.sample}), column"
        [
            row.sample ==~ /[A-Za-z0-9][A-Za-z0-9._-]*/ ? null : "${where}, column sample: '${row.sample}': use letters, digits, '.', '_' and '-' only, beginning with a letter or digit",
            firsts[row.sample] == row.line ? null : "${column} sample: already on line ${firsts[row.sample]}",
            row.peaks ? null : "${column} peaks: is empty",
            row.peaks && wrongPath(row.peaks) ? "${column} peaks: ${wrongPath(row.peaks)}" : null,
            row.values().any { value -> value.toString() =~ /\p{Cntrl}/ } ? "${where}: control characters in a cell" : null,
        ].findAll()
    }
}

// Return '; did you mean x?' for the known name that takes the fewest changes, or nothing where all are far.
def suggestion(name, known, mark) {
    def distances = known.collectEntries { other -> [other, editDistance(lettersOf(name), lettersOf(other))] }
    def best = known.min { other -> distances[other] }
    best && distances[best] <= Math.max(1, name.length().intdiv(4)) ? "; did you mean ${mark}${best}?" : ''
}

def lettersOf(name) {
    name.toLowerCase().replaceAll('[^a-z0-9]', '')
}

// Return how many letters must be changed, put in or left out to make one text of the other.
def editDistance(a, b) {
    def rows = a.inject((0..b.length()).toList()) { above, letter ->
        (0..<b.length()).inject([above[0] + 1]) { row, i -> row + [[above[i] + (letter == b[i] ? 0 : 1), above[i + 1] + 1, row[i] + 1].min()] }
    }
    rows[-1]
}

// Return what to say when the run has ended: where the results lie, or what failed and the last line that its script wrote.
def closingLines(outdir) {
    if (workflow.success) {
        return "\nThe report: ${asFile(outdir).toAbsolutePath()}/report.html"
    }
    def lines = (workflow.errorMessage ?: '').readLines().findAll { line -> line.trim() }
    lines ? "\n${lines[-1]}" : ''
}
