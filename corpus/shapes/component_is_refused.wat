;; A component, which holds modules and is none.
;; refused: is a component
(component
  (core module (func)))
