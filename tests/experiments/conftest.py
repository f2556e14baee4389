import pytest
from four_stages import Project


@pytest.fixture
def project(tmp_path):
    """A project with git and DVC, in a folder of its own."""
    return Project(tmp_path)
