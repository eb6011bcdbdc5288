// What --matrix and --transcripts need, checked before any task starts: units, lists, groups, and the sheet of external sets.

include { asFile ; onCommandLine ; quantifiedNames ; readCells ; suggestion ; wrongPath } from './samplesheet'

// Return {rows: [{name, matrix, unit, samples, groups, role}, …], problems} of the sheet of external sets; files count from the sheet's folder.
def readExternal(path) {
    def sheet = readCells(path, 'sets', 'set')
    def known = ['name', 'matrix', 'unit', 'samples', 'groups', 'role']
    def lacking = known.take(3) - sheet.header
    def others = sheet.header - known
    def wrong = sheet.header ? lacking.collect { column -> "${path.name}: no column ${column}; the header has ${sheet.header.join(', ')}" } +
        others.collect { column -> "${path.name}: column ${column} is not known${suggestion(column, known, '')}; there are ${known.join(', ')}" } : []
    if (sheet.problems || wrong) {
        return [rows: [], problems: wrong + sheet.problems]
    }
    def rows = sheet.rows.collect { number, cells -> [line: number] + known.collectEntries { column -> [column, externalCell(column, cells[column] ?: '', path.parent)] } }
    def twice = rows.countBy { row -> row.name }.findAll { _name, count -> count > 1 }.keySet().collect { name -> "${path.name}: set ${name} occurs twice" }
    def tested = rows.any { row -> row.role == 'test' } ? [] : ["${path.name}: no set has the role test: what one chooses by cannot be scored"]
    [rows: rows.toSorted { row -> row.name }, problems: rows.collectMany { row -> wrongSet(path.name, row) } + twice + tested]
}

// Return a cell of the sheet: a path or null, or text; the role is test where none is given.
def externalCell(column, text, folder) {
    def outside = text.startsWith('/') || text.contains('://')
    column in ['matrix', 'samples'] ? (text ? asFile(outside ? text : "${folder}/${text}") : null) : (text ?: (column == 'role' ? 'test' : ''))
}

// Return a line for each thing wrong with a row.
def wrongSet(name, row) {
    def column = "${name} line ${row.line} (set ${row.name}), column"
    [
        row.name ==~ /[A-Za-z0-9][A-Za-z0-9._-]*/ && row.name != 'main' ? null : "${name} line ${row.line}, column name: '${row.name}': use letters, digits, '.', '_' and '-' only, beginning with a letter or digit; main is the matrix that is trained on",
        row.matrix ? (wrongPath(row.matrix) ? "${column} matrix: ${wrongPath(row.matrix)}" : null) : "${column} matrix: is empty",
        row.samples && wrongPath(row.samples) ? "${column} samples: ${wrongPath(row.samples)}" : null,
        row.unit in matrixUnits() ? null : "${column} unit: '${row.unit}': choose from ${matrixUnits().join(', ')}",
        row.groups ==~ groupsPattern() ? null : "${column} groups: '${row.groups}': write batch=COLUMN,donor=COLUMN …, in quotes where commas separate the cells",
        row.role in ['test', 'choose'] ? null : "${column} role: '${row.role}': write test (scored), choose (validates) or nothing",
    ].findAll()
}

def matrixUnits() {
    ['counts', 'cpm', 'tpm', 'rpkm', 'log2_intensity', 'zscore']
}

def groupsPattern() {
    def pair = /(donor|biosample|replicate_group|batch)=[^',=\p{Cntrl}]+/
    "(${pair}(,${pair})*)?"
}

// Return the values of a run with a matrix: what --matrix_groups names is held out together, and the family is one that reads landmarks, unless others were chosen.
def ofMatrix(values, rules) {
    measured(values, rules, 'dgex')
}

// Return the values of a run with transcripts: TPM unless the unit is named; where there is no samplesheet, folds and family as with a matrix.
def ofTranscripts(values, rules) {
    def united = values + [matrix_unit: values.matrix_unit ?: 'tpm']
    values.samples ? united : measured(united, rules, 'deepsf')
}

// Return the values with groups and a family, unless others were chosen.
def measured(values, rules, family) {
    def chosen = ['group_by', 'families'].findAll { name -> onCommandLine(name) || values[name] != rules[name]['default'] }
    values + [group_by: groupNames(values).join(',') ?: 'random', families: family].findAll { name, _value -> !(name in chosen) }
}

// Return the columns that --matrix_groups names: [batch, donor].
def groupNames(values) {
    (values.matrix_groups ?: '').tokenize(',').collect { pair -> pair.tokenize('=')[0] }
}

// Return what is wrong beside --matrix: no line or several; `external` are the rows of the sheet of external sets.
def wrongMatrix(values, external) {
    [
        values.matrix_unit ? null : "--matrix_unit is needed: what the numbers of --matrix mean; choose from ${matrixUnits().join(', ')}",
        values.landmarks && values.targets ? null : '--landmarks, --targets: both lists are needed beside --matrix: the genes that are measured, and those that are predicted from them',
        values.refit == true && external.any { row -> row.role == 'choose' } ? "--refit: sets that choose would be trained on; leave it out, or give them the role test" : null,
        values.hold_out == 'samples' ? null : "--hold_out ${values.hold_out}: targets are predicted from landmarks of the same sample; give --hold_out samples",
    ].findAll() + unnamedGroups(values)
}

// Return a line where --group_by chooses a group that --matrix_groups does not name.
def unnamedGroups(values) {
    def unnamed = values.group_by == 'random' || values.fold_table ? [] : (values.group_by ?: '').tokenize(',') - groupNames(values)
    unnamed ? ["--group_by ${values.group_by}: --matrix_groups names no ${unnamed.join(', ')}; write --matrix_groups ${unnamed[0]}=COLUMN"] : []
}

// Return what is wrong beside --transcripts without a samplesheet: no line or several.
def wrongTranscripts(values) {
    (values.hold_out == 'samples' ? [] : ["--hold_out ${values.hold_out}: transcripts are predicted from genes of the same sample; give --hold_out samples"]) + unnamedGroups(values)
}

// Return what is wrong with transcripts and factors, whatever stands beside them; `files` are those of --transcripts.
def wrongIsoforms(values, files) {
    def odd = quantifiedNames(files).find { name -> !(name ==~ /[A-Za-z0-9][A-Za-z0-9._-]*/) }
    def idle = values.samples ? ['matrix_samples', 'matrix_groups'].findAll { name -> values[name] } : []
    values.transcripts ? [
        values.factors ? null : '--factors is needed beside --transcripts: the genes whose levels tell how transcripts are spliced',
        values.matrix_unit in ['tpm', 'cpm', 'counts'] ? null : "--matrix_unit ${values.matrix_unit}: transcripts are tpm, cpm or counts",
        odd ? "--transcripts: folder '${odd}' names a sample: use letters, digits, '.', '_' and '-' only, beginning with a letter or digit" : null,
        idle ? "--${idle.join(', --')}: the samplesheet says what samples there are and which belong together; leave it out" : null,
        values.transcript_fasta ? '--transcripts, --transcript_fasta: give only one of them; reads are quantified on the latter' : null,
    ].findAll() : []
}

// Return the files of kallisto or salmon in the folders of a folder, one a sample; where there is none, how one would be called.
def quantifiedFiles(path) {
    def names = ['abundance.tsv', 'quant.sf', 'abundance.tsv.gz', 'quant.sf.gz']
    def folders = path.listFiles().findAll { folder -> folder.isDirectory() }
    def files = folders.collect { folder -> names.collect { name -> folder.resolve(name) }.find { file -> file.exists() } }.findAll()
    files ?: [path.resolve('SAMPLE/abundance.tsv')]
}
