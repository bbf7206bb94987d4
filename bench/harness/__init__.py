"""What the programs of bench/ share; README.md of the folder above says what each file is."""
