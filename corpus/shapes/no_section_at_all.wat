;; The smallest module: eight bytes of header and nothing else.
;; not-run: has no function
(module binary "\00asm" "\01\00\00\00")
