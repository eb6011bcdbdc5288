// The genome and its genes.

include { codeFingerprint } from './code'

// Read a GTF, BED or TSV of genes: one row a gene, and one a TSS.
process MAKE_GENE_TABLE {
    label 'table'

    input:
    path gene_table, stageAs: 'input/*'
    path chrom_sizes, stageAs: 'genome/*'
    val code

    output:
    path 'genes.tsv', emit: genes
    path 'tss.tsv', emit: tss
    path 'versions.json', topic: versions

    script:
    """
    make_gene_table.py \\
        --genes ${gene_table} \\
        --chrom-sizes ${chrom_sizes} \\
        --code ${code} \\
        --versions versions.json \\
        --tss-out tss.tsv \\
        --out genes.tsv
    """

    stub:
    """
    touch genes.tsv tss.tsv versions.json
    """
}

workflow REFERENCE {
    take:
    gene_table  // a file, or nothing
    chrom_sizes // a file, or nothing

    main:
    made = MAKE_GENE_TABLE(gene_table, chrom_sizes, codeFingerprint(['make_gene_table.py']))
    tables = made.genes.combine(made.tss).combine(chrom_sizes) // [genes.tsv, tss.tsv, chrom.sizes]

    emit:
    tables
}
