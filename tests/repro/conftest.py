import pytest
from four_stages import Project


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path)
