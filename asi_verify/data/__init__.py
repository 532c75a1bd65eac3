"""Data: samples, the preprocessing contract, MedMNIST, own data, the phantom set."""

from asi_verify.data.annotators import NOT_LABELLED, from_annotators
from asi_verify.data.arrays import from_arrays, from_torch_dataset
from asi_verify.data.folder import from_folder
from asi_verify.data.medmnist import find_file, load_medmnist, medmnist_sets, search_path
from asi_verify.data.phantom import Planted, phantom
from asi_verify.data.preprocess import Preprocess
from asi_verify.data.resolve import DatasetLike, load_dataset
from asi_verify.data.samples import Dataset, Samples, Task

__all__ = [
    "NOT_LABELLED",
    "Dataset",
    "DatasetLike",
    "Planted",
    "Preprocess",
    "Samples",
    "Task",
    "find_file",
    "from_annotators",
    "from_arrays",
    "from_folder",
    "from_torch_dataset",
    "load_dataset",
    "load_medmnist",
    "medmnist_sets",
    "phantom",
    "search_path",
]
