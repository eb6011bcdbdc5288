// What --matrix needs, checked before any task starts: units, lists, groups, and the sheet of external sets.

include { asFile ; onCommandLine ; readCells ; suggestion ; wrongPath } from './samplesheet'

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
    def chosen = ['group_by', 'families'].findAll { name -> onCommandLine(name) || values[name] != rules[name]['default'] }
    values + [group_by: groupNames(values).join(',') ?: 'random', families: 'dgex'].findAll { name, _value -> !(name in chosen) }
}

// Return the columns that --matrix_groups names: [batch, donor].
def groupNames(values) {
    (values.matrix_groups ?: '').tokenize(',').collect { pair -> pair.tokenize('=')[0] }
}

// Return what is wrong beside --matrix: no line or several; `external` are the rows of the sheet of external sets.
def wrongMatrix(values, external) {
    def unnamed = values.group_by == 'random' ? [] : (values.group_by ?: '').tokenize(',') - groupNames(values)
    [
        values.matrix_unit ? null : "--matrix_unit is needed: what the numbers of --matrix mean; choose from ${matrixUnits().join(', ')}",
        values.landmarks && values.targets ? null : '--landmarks, --targets: both lists are needed beside --matrix: the genes that are measured, and those that are predicted from them',
        values.refit == true && external.any { row -> row.role == 'choose' } ? "--refit: sets that choose would be trained on; leave it out, or give them the role test" : null,
        values.hold_out == 'samples' ? null : "--hold_out ${values.hold_out}: targets are predicted from landmarks of the same sample; give --hold_out samples",
        unnamed && !values.fold_table ? "--group_by ${values.group_by}: --matrix_groups names no ${unnamed.join(', ')}; write --matrix_groups ${unnamed[0]}=COLUMN" : null,
    ].findAll()
}
