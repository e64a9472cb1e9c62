#!/usr/bin/env python3
"""scikit-learn's logistic regression on tf-idf features, fitted and scored on the rows that Fovea's linear model sees.

    build/bin/fovea data split demo/packages.csv --group source --seed 1 --out FOLDER
    tools/evaluate/linear_peer.py FOLDER/train.csv FOLDER/valid.csv text section

Needs scikit-learn (pip install scikit-learn). Prints one line for each set of features: words, pairs of words with
them, character pieces of two to five beside both.
"""

import csv
import sys
import warnings

from scipy.sparse import hstack
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression


def columns(path, *names):
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [[row[name] for row in rows] for name in names]


def main():
    train_path, valid_path, text, target = sys.argv[1:]
    texts, labels = columns(train_path, text, target)
    valid_texts, valid_labels = columns(valid_path, text, target)
    words = dict(sublinear_tf=True, token_pattern=r"(?u)\b\w+\b")
    pairs = TfidfVectorizer(ngram_range=(1, 2), min_df=2, **words)
    pieces = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), min_df=2, sublinear_tf=True)
    print(f"{len(texts)} rows to learn from, {len(valid_texts)} to score")
    for name, features in {"words": [TfidfVectorizer(**words)], "pairs": [pairs], "pairs, pieces": [pairs, pieces]}.items():
        fitted = hstack([f.fit_transform(texts) for f in features]).tocsr()
        scored = hstack([f.transform(valid_texts) for f in features]).tocsr()
        model = LogisticRegression(C=3, max_iter=100).fit(fitted, labels)
        print(f"{name:15} accuracy {100 * model.score(scored, valid_labels):.2f} %", flush=True)


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # a hundred steps end before the solver's own criterion, not before its accuracy does
    main()
