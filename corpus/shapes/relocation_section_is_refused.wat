;; Relocations name byte offsets in the code section and symbols of the linker.
;; refused: has `linking` and `reloc.CODE` sections
(module binary
  "\00asm\01\00\00\00"
  "\01\04"                              ;; types
    "\01\60\00\00"                      ;; one: () -> ()
  "\02\20"                              ;; imports
    "\02"                               ;; two
    "\03env\0f__linear_memory\02\00\00" ;; a memory
    "\03env\01\67\00\00"                ;; a function of type 0
  "\03\02"                              ;; functions
    "\01\00"                            ;; one, of type 0
  "\0a\0a"                              ;; code
    "\01"                               ;; one
    "\08"                               ;; function 1
      "\00"                             ;; no locals
      "\10\80\80\80\80\00"              ;; call 0, in the five bytes that the linker will fill in
      "\0b"                             ;; end
  "\00\14"                              ;; custom
    "\07linking"                        ;; its name
    "\02"                               ;; version 2
    "\08\09"                            ;; symbol table, nine bytes
    "\02"                               ;; two symbols
    "\00\00\01\01\66"                   ;; `f`, function 1
    "\00\10\00"                         ;; function 0, undefined
  "\00\10"                              ;; custom
    "\0areloc.CODE"                     ;; its name
    "\03"                               ;; section 3: the code
    "\01"                               ;; one relocation
    "\00\04\01"                         ;; function index, at offset 4, symbol 1
)
