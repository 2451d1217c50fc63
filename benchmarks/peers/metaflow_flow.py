"""The run as a Metaflow flow: ``python metaflow_flow.py run --data data.csv``."""

import work
from metaflow import FlowSpec, Parameter, step


class FuelFlow(FlowSpec):
    """Validate, prepare, train, evaluate, gate and log the fuel model."""

    data = Parameter("data", required=True)

    @step
    def start(self) -> None:
        """Validate the data."""
        self.raw = work.validate(self.data)
        self.next(self.prepare)

    @step
    def prepare(self) -> None:
        """Split the rows."""
        self.train_rows, self.hold_out = work.prepare(self.raw)
        self.next(self.train)

    @step
    def train(self) -> None:
        """Train the candidates."""
        self.fitted = work.train(self.train_rows)
        self.next(self.evaluate)

    @step
    def evaluate(self) -> None:
        """Evaluate the best one."""
        self.evaluation, self.graph = work.evaluate(self.fitted, self.hold_out)
        self.next(self.gate)

    @step
    def gate(self) -> None:
        """Decide whether it is released."""
        self.verdict = work.gate(self.fitted, self.graph, self.hold_out)
        self.next(self.end)

    @step
    def end(self) -> None:
        """Log it to MLflow."""
        self.version = work.log(
            self.fitted, self.evaluation, self.graph, self.verdict, self.hold_out
        )
        print(f"version {self.version}")


if __name__ == "__main__":
    FuelFlow()
