(component
  (core module (func)))
