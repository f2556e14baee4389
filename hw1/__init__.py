"""The library under the stages. A package with this file: one without would yield to any other that is called hw1."""
