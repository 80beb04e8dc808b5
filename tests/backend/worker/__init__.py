"""The backend's own worker: the word means a person here."""

NAME = "Ana"
