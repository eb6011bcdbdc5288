// The smallest pipeline with all that exprcast uses of the engine; set-up runs it once.
process HELLO {
    input:
    val name

    output:
    path "${name}.txt"

    script:
    """
    echo hello > ${name}.txt
    """
}

workflow {
    main:
    greetings = HELLO(channel.of('a', 'b'))

    publish:
    greetings = greetings
}

output {
    greetings {
        path 'greetings'
    }
}
