"""Build script: names the packages, so that the twistd plugin is installed too."""

from setuptools import find_packages, setup

setup(
    packages=[
        *find_packages(include=["imageserver", "imageserver.*"]),
        "twisted.plugins",
    ],
    package_data={
        "imageserver": ["py.typed"],
        "imageserver.web": ["templates/*", "static/*"],
    },
)
