"""What the tasks of the suite minimise, one module a family; every function takes the seed first and gives two problems."""
