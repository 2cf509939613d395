/* schema.S - the migrations, byte for byte, as C strings (see schema.h).
 * Paths are relative to the top of the tree, where the assembler runs. */
#if defined(__ELF__)
    .section .note.GNU-stack,"",%progbits
#endif
    .section .rodata

    .global schema_0001
schema_0001:
    .incbin "store/schema/0001_first.sql"
    .byte 0

    .global schema_0002
schema_0002:
    .incbin "store/schema/0002_reached.sql"
    .byte 0

    .global schema_0003
schema_0003:
    .incbin "store/schema/0003_present.sql"
    .byte 0

    .global schema_0004
schema_0004:
    .incbin "store/schema/0004_forgotten.sql"
    .byte 0
