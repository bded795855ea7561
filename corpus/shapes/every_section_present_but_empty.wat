;; Every section is there and none holds anything: a code section without a body.
;; not-run: has no function
(module binary
  "\00asm\01\00\00\00"
  "\01\01" ;; types
    "\00"  ;; none
  "\02\01" ;; imports
    "\00"  ;; none
  "\03\01" ;; functions
    "\00"  ;; none
  "\04\01" ;; tables
    "\00"  ;; none
  "\05\01" ;; memories
    "\00"  ;; none
  "\0d\01" ;; tags
    "\00"  ;; none
  "\06\01" ;; globals
    "\00"  ;; none
  "\07\01" ;; exports
    "\00"  ;; none
  "\09\01" ;; elements
    "\00"  ;; none
  "\0c\01" ;; data count
    "\00"  ;; none
  "\0a\01" ;; code
    "\00"  ;; none
  "\0b\01" ;; data
    "\00"  ;; none
)
