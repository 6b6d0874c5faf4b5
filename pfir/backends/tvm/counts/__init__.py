"""How many instructions each kind of kernel executes, from its sizes and its schedule, without building it."""
