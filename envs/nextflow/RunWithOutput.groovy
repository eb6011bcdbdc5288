// Starts the bundled engine with the `output {}` block allowed. It is final in Nextflow 25.10; in 25.04 it is a preview whose flag newer
// engines refuse to see in a script, so the flag is set here, outside the pipeline: in its field, because the setter logs a warning.
//
// The thread is for speed. Groovy's parser learns while it reads, and the engine takes two seconds until it lets it: meanwhile the
// pipeline's modules are read on another core. What was read is thrown away; any run, and every mistake, gets there half a second sooner.
import groovy.transform.CompileStatic
import nextflow.NextflowMeta
import nextflow.cli.Launcher
import org.codehaus.groovy.control.SourceUnit

@CompileStatic
class RunWithOutput extends Thread {
    final String[] words

    RunWithOutput(String[] words) {
        this.words = words
        this.daemon = true
    }

    static void main(String[] args) {
        final flag = NextflowMeta.Preview.getDeclaredField('output')
        flag.accessible = true
        flag.setBoolean(NextflowMeta.instance.preview, true)
        if (args && args[0] == 'run') {
            new RunWithOutput(args).start()
        }
        Launcher.main(args)
    }

    void run() {
        try {
            for (String word : words) {
                for (File file : (new File(word, 'modules').listFiles() ?: new File[0])) {
                    if (file.name.endsWith('.nf')) {
                        final source = SourceUnit.create(file.name, file.text)
                        source.parse()
                        source.completePhase()
                        source.nextPhase()
                        source.convert()
                    }
                }
            }
        }
        catch (Throwable ignored) { // the engine will say what is wrong
        }
    }
}
