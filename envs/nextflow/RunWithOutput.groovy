// Starts the bundled engine with the `output {}` block allowed. It is final in Nextflow 25.10; in 25.04 it is a preview whose flag newer
// engines refuse to see in a script, so the flag is set here, outside the pipeline: in its field, because the setter logs a warning.
import groovy.transform.CompileStatic
import nextflow.NextflowMeta
import nextflow.cli.Launcher

@CompileStatic
class RunWithOutput {
    static void main(String[] args) {
        final flag = NextflowMeta.Preview.getDeclaredField('output')
        flag.accessible = true
        flag.setBoolean(NextflowMeta.instance.preview, true)
        Launcher.main(args)
    }
}
