"""Orders, looked up the way that a book on injection begins."""

import pickle
import sqlite3


def find_orders(database: sqlite3.Connection, customer: str) -> list[tuple]:
    return database.execute(f"SELECT id, total FROM orders WHERE customer = '{customer}'").fetchall()


def load_cart(cookie: bytes) -> object:
    return pickle.loads(cookie)


def discount(formula: str, total: float) -> float:
    return eval(formula, {"total": total})
