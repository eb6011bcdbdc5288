// Reading a samplesheet: one row a sample, or several where a sample was sequenced in several lanes. And what all checks of input share.
// This file includes no other: 25.04's strict parser cannot include a file twice that does.

// Return {samples, problems, ignored} of a samplesheet: CSV, TSV or semicolons, with or without byte order mark, Windows line ends and
// quotes; ignored are the columns that mean nothing here. A sample is a map of its columns, sorted by sample: texts, paths or null for peaks and signal, lists of paths for reads_1 and reads_2.
def readSamplesheet(path) {
    def sheet = readCells(path, 'samples', 'sample')
    def problems = (sheet.header ? wrongHeader(path.name, sheet.header) : []) + sheet.problems
    if (problems) {
        return [samples: [], problems: problems, ignored: []]
    }
    def rows = sheet.rows.collect { number, cells -> [line: number] + sheetRow(cells, path.parent) }
    def wrong = rows.collectMany { row -> wrongRow(path.name, row, sheet.header) } + someSignals(path.name, rows) + wrongLanes(path.name, rows) + repeatedReads(path.name, rows)
    [samples: wrong ? [] : joinLanes(rows), problems: wrong, ignored: sheet.header - sheetColumns()]
}

// Return {header, rows: [[line number, {column: text}], …], problems} of a sheet: CSV, TSV or semicolons, as people save them.
def readCells(path, things, thing) {
    def unreadable = wrongText(path)
    if (unreadable) {
        return [header: [], rows: [], problems: ["${path.name}: ${unreadable}"]]
    }
    def lines = path.getText('UTF-8').replaceFirst('^\uFEFF', '').readLines().withIndex(1).findAll { line, _number -> line.trim() }
    if (lines.size() < 2) {
        return [header: [], rows: [], problems: ["${path.name}: no ${things}; a header and one line a ${thing} are needed"]]
    }
    def separator = ['\t', ';', ','].max { mark -> lines[0][0].count(mark) }
    def header = splitLine(lines[0][0], separator).collect { name -> name.toLowerCase().replaceAll('[ -]', '_') }
    def cells = lines.tail().collect { line, number -> [number, splitLine(line, separator)] }
    def problems = cells.findAll { _number, row -> row.size() != header.size() }
        .collect { number, row -> "${path.name} line ${number}: ${row.size()} cells where the header has ${header.size()}" } +
        cells.findAll { _number, row -> row.any { cell -> cell =~ /\p{Cntrl}/ } }.collect { number, _row -> "${path.name} line ${number}: control characters in a cell" }
    [header: header, rows: problems ? [] : cells.collect { number, row -> [number, [header, row].transpose().collectEntries()] }, problems: problems]
}

// Return why a file is no text that can be read, or null.
def wrongText(path) {
    def start = path.withInputStream { stream -> stream.readNBytes(2) }.encodeHex().toString()
    def kinds = ['504b': 'this is an Excel workbook (or another ZIP file); save it as CSV (UTF-8)', '1f8b': 'this is gzip; give plain text', fffe: 'this is UTF-16; save it as CSV (UTF-8)', feff: 'this is UTF-16; save it as CSV (UTF-8)']
    try {
        path.getText('UTF-8')
        kinds[start]
    }
    catch (java.nio.charset.CharacterCodingException _problem) {
        kinds[start] ?: 'this is not UTF-8 text; save it as CSV (UTF-8)'
    }
}

// Return the cells of one line, without quotes and outer blanks.
def splitLine(line, separator) {
    def cells = "${separator}${line}".findAll("${separator} *(\"(?:[^\"]|\"\")*\"|[^${separator}]*)") { _all, cell -> cell.trim() }
    cells.collect { cell -> cell.startsWith('"') ? cell.replaceFirst('^"(.*)"$', '$1').replace('""', '"') : cell }
}

// Return one row: every column present, files as paths that count from the sheet's folder, or null.
def sheetRow(cells, folder) {
    sheetColumns().collectEntries { column ->
        def text = cells[column] ?: ''
        def outside = text.startsWith('/') || text.contains('://')
        [column, column in fileColumns() ? (text ? asFile(outside ? text : "${folder}/${text}") : null) : text]
    }
}

def sheetColumns() {
    ['sample', 'donor', 'biosample', 'replicate_group', 'batch', 'reads_1', 'reads_2', 'strandedness', 'fragment_mean', 'fragment_sd', 'peaks', 'signal']
}

// Return what other pipelines and public tables call our columns.
def otherNames() {
    [fastq_1: 'reads_1', fastq_2: 'reads_2', strand: 'strandedness', id: 'sample', sample_id: 'sample', patient: 'donor', individual: 'donor', subject: 'donor', cell_type: 'biosample', tissue: 'biosample', cell_line: 'biosample', biosample_term: 'biosample', bed: 'peaks', bigwig: 'signal']
}

def fileColumns() {
    ['reads_1', 'reads_2', 'peaks', 'signal']
}

// Return what is wrong with the header: columns lacking or twice, or misspelt (others are the user's own and ignored).
def wrongHeader(name, header) {
    def lacking = ['sample'] - header
    def twice = header.countBy { column -> column }.findAll { _column, count -> count > 1 }.keySet()
    def others = otherNames().findAll { _other, column -> !(column in header) }
    def misspelt = header.findAll { column -> !(column in sheetColumns()) && (others[column] || suggestion(column, sheetColumns() - header, '')) }
    lacking.collect { column -> "${name}: no column ${column}; the header has ${header.join(', ')}" } +
        twice.collect { column -> "${name}: column ${column} occurs twice" } +
        misspelt.collect { column -> "${name}: column ${column} is not known${others[column] ? "; here it is called ${others[column]}" : suggestion(column, sheetColumns() - header, '')}" } +
        (lacking || misspelt || ('peaks' in header) || ('reads_1' in header) ? [] : ["${name}: no column peaks or reads_1; the header has ${header.join(', ')}"])
}

// Return a line for each thing wrong with one row: an id that is no file name, a file lacking, a value that is none, control characters.
def wrongRow(name, row, header) {
    def where = "${name} line ${row.line}"
    def column = "${where} (sample ${row.sample}), column"
    def paired = row.reads_1 && row.reads_2
    def single = row.reads_1 && !row.reads_2
    def fragments = ['fragment_mean', 'fragment_sd']
    def missing = fragments.findAll { key -> single && !row[key] }
    [
        row.sample ==~ /[A-Za-z0-9][A-Za-z0-9._-]*/ ? null : "${where}, column sample: '${row.sample}': use letters, digits, '.', '_' and '-' only, beginning with a letter or digit",
        'peaks' in header && !row.peaks ? "${column} peaks: is empty" : null,
        'reads_1' in header && !row.reads_1 && row.reads_2 ? "${column} reads_1: is empty, and reads_2 is not; single-end reads stand in reads_1" : null,
        row.signal && !row.peaks ? "${column} signal: needs peaks, too: peaks say which bins are open, the signal how much" : null,
        row.strandedness in ['', 'auto', 'unstranded', 'forward', 'reverse'] ? null : "${column} strandedness: '${row.strandedness}': write auto, unstranded, forward or reverse, or nothing",
        missing ? "${column} ${missing.join(' and ')}: single-end reads need both in bp (who made the library knows; often 200 and 30)" : null,
    ].findAll() +
        fileColumns().findAll { key -> row[key] && wrongPath(row[key]) }.collect { key -> "${column} ${key}: ${wrongPath(row[key])}" } +
        fragments.findAll { key -> row[key] && paired }.collect { key -> "${column} ${key}: leave it empty for pairs, whose fragments kallisto measures" } +
        fragments.findAll { key -> row[key] && !paired && !(row[key] ==~ /\d{1,5}(\.\d{1,3})?/ && row[key].toBigDecimal() > 0 && row[key].toBigDecimal() <= 2000) }
            .collect { key -> "${column} ${key}: '${row[key]}': a number of bp above 0 and up to 2000 is needed" }
}

// Return a line where some samples have a signal and others not: coverage and a peak caller's values are of different scales.
def someSignals(name, rows) {
    def with = rows.find { row -> row.signal }
    def without = rows.find { row -> !row.signal }
    with && without ? ["${name} line ${without.line} (sample ${without.sample}), column signal: is empty, but sample ${with.sample} has one; give it for all or for none"] : []
}

// Return a line for each row that has the sample of an earlier one and is no lane of it: only reads may differ.
def wrongLanes(name, rows) {
    def firsts = rows.reverse().collectEntries { row -> [row.sample, row] }
    rows.findAll { row -> firsts[row.sample].line != row.line }.collectMany { row ->
        def first = firsts[row.sample]
        def column = "${name} line ${row.line} (sample ${row.sample}), column"
        def others = (sheetColumns() - ['sample', 'reads_1', 'reads_2']).findAll { key -> row[key] != first[key] }
        def mates = [row.reads_2, first.reads_2].count { path -> path == null } == 1
        row.reads_1 && first.reads_1
            ? others.collect { key -> "${column} ${key}: '${row[key] ?: ''}', but '${first[key] ?: ''}' on line ${first.line}; rows of one sample are its lanes and differ in reads only" } +
                (mates ? ["${column} reads_2: line ${first.line} is ${first.reads_2 ? 'paired' : 'single-end'}; the lanes of a sample must be alike"] : [])
            : ["${column} sample: already on line ${first.line}"]
    }
}

// Return a line for each file of reads that stands a second time in the sheet.
def repeatedReads(name, rows) {
    def places = rows.collectMany { row -> ['reads_1', 'reads_2'].findAll { key -> row[key] }.collect { key -> [file: row[key], line: row.line, sample: row.sample, column: key] } }
    def firsts = places.reverse().collectEntries { place -> [place.file.toString(), place] }
    places.findAll { place -> firsts[place.file.toString()] != place }.collect { place ->
        def first = firsts[place.file.toString()]
        "${name} line ${place.line} (sample ${place.sample}), column ${place.column}: ${place.file.name} is already ${first.column} of sample ${first.sample} on line ${first.line}"
    }
}

// Return one map a sample, sorted by sample; lanes are sorted by their first file, so that the order of rows does not matter.
def joinLanes(rows) {
    rows.groupBy { row -> row.sample }.values()
        .collect { lanes ->
            def sorted = lanes.toSorted { lane -> lane.reads_1.toString() }
            sorted[0].findAll { key, _value -> key != 'line' } + [reads_1: sorted*.reads_1.findAll(), reads_2: sorted*.reads_2.findAll()]
        }
        .toSorted { sample -> sample.sample }
}

// Stop the run with one line a problem, if there is one; after fifty, with the number of the others.
def stopOn(problems) {
    if (problems) {
        error((problems.take(50) + (problems.size() > 50 ? ["… and ${problems.size() - 50} more problems"] : [])).join('\n'))
    }
}

// Return a path, never a glob; relative ones count from the folder where Nextflow was started.
def asFile(text) {
    file(text, glob: false)
}

// Return what is wrong with a file that a task will read, or null.
def wrongPath(path) {
    def found = path.isDirectory() ? "this is a folder, not a file: ${path}" : null
    wrongName(path) ?: (path.exists() ? found : "file not found: ${path}")
}

// Return the samples that such files are of, by their folders; nothing for a table.
def quantifiedNames(files) {
    files.every { path -> path.name ==~ /(abundance\.tsv|quant\.sf)(\.gz)?/ } ? files*.parent*.name : []
}

// Return what is wrong with the name of a file or folder, or null. Nextflow does not quote some characters for the shell.
def wrongName(path) {
    path.toString() =~ /[$`*?\\\[\]{}\p{Cntrl}]/ ? "a path may not hold any of \$ ` * ? \\ [ ] { }, please rename: ${path}" : null
}

// Say whether a parameter was given on the command line.
def onCommandLine(name) {
    "--${name}".toString() in workflow.commandLine.tokenize(' ').collect { word -> word.replaceFirst('=.*', '') }
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
