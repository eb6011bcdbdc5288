// How -resume notices an edit in bin/exprcast: Nextflow hashes the script that a task names, never what that script imports.

// Return a fingerprint of Python files (paths in bin/) and of all files of exprcast that they reach by imports.
def codeFingerprint(paths) {
    withImports(paths*.toString()).collect { path -> path + '\n' + codeText(path) }.join('\n').md5()
}

// Return the paths and all that they reach, sorted.
def withImports(paths) {
    def more = (paths + paths.collectMany { path -> importsOf(path) }).toUnique().toSorted()
    more == paths ? paths : withImports(more)
}

// Return the paths of the exprcast files that one file imports. Only `from exprcast.x import y` at the start of a line
// counts; tests/test_repository.py refuses every other form.
def importsOf(path) {
    codeText(path).readLines()
        .findAll { line -> line ==~ /from exprcast\.[\w.]+ import .*/ }
        .collect { line -> line.tokenize(' ')[1].replace('.', '/') + '.py' }
}

// Return what a program on the PATH says of its version; of one that is only in an image, nothing: there the image is in the hash.
def programVersion(name) {
    try {
        [name, 'version'].execute().text.trim()
    }
    catch (IOException _problem) {
        'unknown'
    }
}

def codeText(path) {
    file("${projectDir}/bin/${path}").getText('UTF-8')
}
