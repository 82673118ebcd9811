"""Training step and reconstruction in PyTorch, with which compare.py compares this project.

    python benchmarks/pytorch_port.py [--width=256 --height=144 --filters=80 --batch_size=12]
        [--device=cuda] [--precision=bfloat16] [--compile]

It imports nothing of the project. The comparison is fair: it has the same networks and objectives,
shares one forward pass between three gradients, uses channels_last and fused Adam, and folds batch
norm into the layers before it for reconstruction. Its differences favour PyTorch: SAME padding puts
the odd row on the other side, which saves a copy, and it does not check steps for finite values. It
answers "training N" and "reconstruction N" on stdin with the wall clock and processor seconds of N
steps or batches.
"""

import argparse
import json
import sys
import time
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

LOG_FLOOR = -18.420680743952367
GAMMA, ADVERSARIAL_WEIGHT, LEAK = 2.5, 1 / 72, 0.01


class BatchNorm(nn.BatchNorm2d):
    """Batch norm that updates its running statistics only if ``track`` is set."""

    def __init__(self, features):
        super().__init__(features, eps=1e-5, momentum=0.1)

    def forward(self, x, track):
        running = (
            (self.running_mean, self.running_var) if track or not self.training else 2 * (None,)
        )
        return F.batch_norm(
            x, *running, self.weight, self.bias, self.training, self.momentum, self.eps
        )


class Stack(nn.Module):
    """Four strided convolutions, batch norm on all but the first."""

    def __init__(self, filters):
        super().__init__()
        features = [3] + [filters * 2**layer for layer in range(4)]
        self.convolutions = nn.ModuleList(
            nn.Conv2d(features[i], features[i + 1], 5, 2, 2, bias=i == 0) for i in range(4)
        )
        self.norms = nn.ModuleList(BatchNorm(features[i + 1]) for i in range(1, 4))

    def forward(self, x, track):
        activations = []
        for layer, convolution in enumerate(self.convolutions):
            x = convolution(x)
            if layer and self.norms is not None:
                x = self.norms[layer - 1](x, track)
            x = F.leaky_relu(x, LEAK)
            activations.append(x)
        return activations


class Encoder(nn.Module):
    def __init__(self, filters, z_dim, height, width):
        super().__init__()
        self.stack = Stack(filters)
        flat = height // 16 * (width // 16) * filters * 8
        self.mean, self.log_variance = nn.Linear(flat, z_dim), nn.Linear(flat, z_dim)

    def forward(self, x, track=True):
        features = self.stack(x, track)[-1].permute(0, 2, 3, 1).flatten(1)
        return torch.tanh(self.mean(features)), 0.5 * torch.tanh(self.log_variance(features))


class Decoder(nn.Module):
    def __init__(self, filters, z_dim, height, width):
        super().__init__()
        self.shape = height // 16, width // 16, filters * 8
        features = [3] + [filters * 2**layer for layer in range(4)]
        self.projection = nn.Linear(z_dim, self.shape[0] * self.shape[1] * self.shape[2])
        self.norms = nn.ModuleList(BatchNorm(features[i + 1]) for i in reversed(range(4)))
        self.convolutions = nn.ModuleList(
            nn.ConvTranspose2d(features[i + 1], features[i], 5, 2, 2, 1, bias=i == 0)
            for i in reversed(range(4))
        )

    def forward(self, z, track=False):
        x = self.projection(z).unflatten(1, self.shape).permute(0, 3, 1, 2)
        for layer, convolution in enumerate(self.convolutions):
            if self.norms is not None:
                x = self.norms[layer](x, track)
            x = convolution(F.relu(x))
        return torch.tanh(x)


class Discriminator(nn.Module):
    def __init__(self, filters, height, width):
        super().__init__()
        self.stack = Stack(filters)
        self.logit = nn.Linear(height // 16 * (width // 16) * filters * 8, 1)

    def forward(self, x, track=False):
        activations = self.stack(x, track)
        return self.logit(activations[-1].permute(0, 2, 3, 1).flatten(1))[:, 0], activations


def folded(convolution, norm, transpose=False):
    """Folds a batch norm with running statistics into the convolution before it."""
    return torch.nn.utils.fusion.fuse_conv_bn_eval(convolution.eval(), norm.eval(), transpose)


def fold(encoder, decoder):
    """Folds every batch norm of encoder and decoder into the layer before it."""
    stack = encoder.stack
    for layer in range(1, 4):
        stack.convolutions[layer] = folded(stack.convolutions[layer], stack.norms[layer - 1])
    stack.norms = None
    norm, projection = decoder.norms[0], decoder.projection
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    with torch.no_grad():
        positions = decoder.shape[0] * decoder.shape[1]
        shift = norm.bias - norm.running_mean * scale
        projection.weight *= scale.repeat(positions)[:, None]
        projection.bias.mul_(scale.repeat(positions)).add_(shift.repeat(positions))
    for layer in range(3):
        convolution, norm = decoder.convolutions[layer], decoder.norms[layer + 1]
        decoder.convolutions[layer] = folded(convolution, norm, transpose=True)
    decoder.norms = None


def cross_entropy(logit):
    """Mean of -log sigmoid, with a floor under the logarithm."""
    return -F.logsigmoid(logit).clamp_min(LOG_FLOOR).mean()


def clip(objective, low, gradients):
    """Zeroes the gradients if the objective lies outside low..100."""
    inside = (objective >= low) & (objective <= 100)
    return [torch.where(inside, gradient, 0) for gradient in gradients]


class Port:
    """The training step and the reconstruction of one mini-batch."""

    def __init__(self, given):
        torch.manual_seed(0)
        self.given, self.device = given, torch.device(given.device)
        self.type = getattr(torch, given.precision)
        size = given.height, given.width
        self.networks = {
            "encoder": Encoder(given.filters, given.z_dim, *size),
            "decoder": Decoder(given.filters, given.z_dim, *size),
            "discriminator": Discriminator(given.filters, *size),
        }
        for network in self.networks.values():
            network.to(self.device, memory_format=torch.channels_last)
            for name, parameter in network.named_parameters():
                if "norms" not in name:
                    nn.init.normal_(parameter, std=0.02) if parameter.ndim > 1 else nn.init.zeros_(
                        parameter
                    )
        self.parameters = {name: list(net.parameters()) for name, net in self.networks.items()}
        self.optimisers = {
            name: torch.optim.Adam(parameters, 2e-4, betas=(0.5, 0.999), fused=True)
            for name, parameters in self.parameters.items()
        }
        self.calls = dict(self.networks)
        if given.compile:
            self.calls = {name: torch.compile(net) for name, net in self.networks.items()}
        shape = (given.batch_size, given.height, given.width, 3)
        self.frames = torch.randint(0, 256, shape, dtype=torch.uint8, device=self.device)

    def x(self):
        """The frames as floats, channels_last."""
        return (self.frames.float() / 127.5 - 1).permute(0, 3, 1, 2)

    def amp(self):
        return torch.autocast(self.device.type, self.type, enabled=self.type is not torch.float32)

    def step(self):
        """One step of Algorithm 1; the three gradients share forward passes."""
        encode, decode, discriminate = self.calls.values()
        with self.amp():
            x = self.x()
            mean, log_variance = encode(x)
            mean, log_variance = mean.float(), log_variance.float()
            z = mean + torch.exp(log_variance / 2) * 0.1 * torch.randn_like(mean)
            kl = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).mean()
            z_given = z.detach().requires_grad_()
            reconstructed = decode(z_given, True)
            sampled = decode(torch.randn_like(mean))
            reconstructed_given = reconstructed.detach().requires_grad_()
            sampled_given = sampled.detach().requires_grad_()
            real_logit, real_layers = discriminate(x)
            logit, layers = discriminate(reconstructed_given, True)
            sampled_logit, _ = discriminate(sampled_given)
            similarity = sum(
                F.mse_loss(a.float(), b.detach().float())
                for a, b in zip(layers, real_layers, strict=True)
            ) / len(layers)
            adversarial = ADVERSARIAL_WEIGHT * (
                cross_entropy(real_logit.float())
                + cross_entropy(-logit.float())
                + cross_entropy(-sampled_logit.float())
            )
        gradient = partial(torch.autograd.grad, retain_graph=True)
        *of_discriminator, adversarial_x, adversarial_sampled = gradient(
            adversarial, [*self.parameters["discriminator"], reconstructed_given, sampled_given]
        )
        (similarity_x,) = gradient(similarity, [reconstructed_given])
        decoder_parameters = self.parameters["decoder"]
        of_reconstruction = gradient(
            reconstructed, decoder_parameters, GAMMA * similarity_x - adversarial_x
        )
        of_sampling = gradient(sampled, decoder_parameters, -adversarial_sampled)
        (similarity_z,) = gradient(reconstructed, [z_given], similarity_x)
        of_encoder = torch.autograd.grad(
            [z, kl], self.parameters["encoder"], [similarity_z, torch.ones_like(kl)]
        )
        gradients = {
            "encoder": clip(kl + similarity, 1e-8, of_encoder),
            "decoder": clip(
                GAMMA * similarity - adversarial,
                -100,
                torch._foreach_add(of_reconstruction, of_sampling),
            ),
            "discriminator": clip(adversarial, 1e-8, of_discriminator),
        }
        metrics = [kl, similarity, adversarial]
        for name, values in gradients.items():
            metrics.append(torch.nn.utils.get_total_norm(values))
            for parameter, value in zip(self.parameters[name], values, strict=True):
                parameter.grad = value
            self.optimisers[name].step()
        return metrics

    def reconstruct(self):
        """uint8 frames to uint8 frames."""
        with torch.inference_mode(), self.amp():
            mean, _ = self.calls["encoder"](self.x(), False)
            x = self.calls["decoder"](mean).float()
            return ((x + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)

    def synchronise(self):
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def seconds(self, job, count):
        """Wall clock seconds of ``count`` calls, and processor seconds of all cores."""
        self.synchronise()
        start, processor = time.perf_counter(), time.process_time()
        for _ in range(count):
            job()
        self.synchronise()
        return time.perf_counter() - start, time.process_time() - processor


def serve(given):
    """Answers jobs on stdin with their times on stdout."""
    port = Port(given)
    reconstructing = None
    print(json.dumps({"torch": torch.__version__, "threads": torch.get_num_threads()}), flush=True)
    for line in sys.stdin:
        job, count = line.split()
        if job == "training":
            times = port.seconds(port.step, int(count))
        else:
            if reconstructing is None:  # other networks, because they are folded
                reconstructing = Port(argparse.Namespace(**vars(given) | {"compile": False}))
                for network in reconstructing.networks.values():
                    network.eval()
                fold(reconstructing.networks["encoder"], reconstructing.networks["decoder"])
                if given.compile:
                    reconstructing.calls = {
                        name: torch.compile(net) for name, net in reconstructing.networks.items()
                    }
            times = reconstructing.seconds(reconstructing.reconstruct, int(count))
        print(json.dumps(times), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in dict(width=256, height=144, filters=80, z_dim=200, batch_size=12).items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--compile", action="store_true")
    serve(parser.parse_args())


if __name__ == "__main__":
    main()
