"""Malformed calls of what trains, read by bad_calls.py: backward, random numbers, modules, optimizers, data."""

from __future__ import annotations

from bad_cases import ATTRIBUTE, INDEX, KEY, RUNTIME, TYPE, VALUE, Cases

CASES = Cases()
bad = CASES.bad

# ---- Differentiation --------------------------------------------------------------------------------------------

bad("backward of a plain tensor", "a.sum().backward()", RUNTIME, "backward", "grad")
bad("backward of many", "y.backward()", RUNTIME, "backward", "scalar", "(3, 2)")
bad("backward twice", "loss.backward()", RUNTIME, "backward", "second time",
    setup="loss = (w * w).sum(); loss.backward()")  # fmt: skip
bad("backward through a shared part twice", "two.backward()", RUNTIME, "second time",
    setup="part = w.exp(); one, two = part.sum(), part.mean(); one.backward()")  # fmt: skip
bad("gradient shape", "y.backward(torch.ones(2, 3))", (VALUE, RUNTIME), "backward", "(2, 3)", "(3, 2)")
bad("gradient dtype", "y.backward(torch.ones(3, 2, dtype=torch.int64))", (TYPE, RUNTIME), "backward", "int64")
bad("gradient of a list", "y.backward([1.0])", TYPE, "backward", "gradient", "[1.0]")
bad("backward to no inputs", "y.sum().backward(inputs=[])", (VALUE, RUNTIME), "backward", "inputs")
bad("backward to a number", "y.sum().backward(inputs=[2.0])", TYPE, "backward", "inputs", "2.0")
bad("changed in place", "z.sum().backward()", RUNTIME, "inplace", "version", setup="h = w.exp(); z = h * h; h.add_(1)")
bad("in-place on a leaf", "w.add_(1)", RUNTIME, "add", "leaf")
bad("augmented assignment on a leaf", "w += 1", RUNTIME, "leaf")
bad("zero_ on a leaf", "w.zero_()", RUNTIME, "zero_", "leaf")
bad("relu_ on a leaf", "w.relu_()", RUNTIME, "relu", "leaf")
bad("copy_ into a leaf", "w.copy_(a.t())", RUNTIME, "copy_", "leaf")
bad("assignment to a leaf", "w[0] = 0.0", RUNTIME, "leaf")
bad("assignment to a view of a leaf", "row.mul_(2)", RUNTIME, "mul", "leaf", setup="row = w[0]")
bad("in-place on an expanded tensor", "wide.add_(1)", RUNTIME, "add", "expand", setup="wide = v3.expand(4, 3)")
bad("assignment to an expanded tensor", "wide[:] = 1.0", RUNTIME, "expand", setup="wide = v3.expand(4, 3)")
bad("grad of a plain tensor", "torch.autograd.grad(y.sum(), a)", RUNTIME, "grad", "input 0", "(2, 3)")
bad("grad of an unused tensor", "torch.autograd.grad(y.sum(), p)", RUNTIME, "grad", "(4, 3)", "allow_unused")
bad("grad without inputs", "torch.autograd.grad(y.sum(), [])", (VALUE, RUNTIME), "grad", "inputs")
bad("grad of many", "torch.autograd.grad(y, w)", RUNTIME, "grad", "scalar", "(3, 2)")
bad("grad with too many seeds", "torch.autograd.grad(y, w, [y, y])", RUNTIME, "grad", "1", "2")
bad("grad of a number", "torch.autograd.grad(1.0, w)", TYPE, "grad", "outputs")
bad("grad by a number", "torch.autograd.grad(y.sum(), [w, 1])", TYPE, "grad", "inputs[1]", "int")
bad("autograd.backward of text", "torch.autograd.backward('x')", TYPE, "backward", "tensors[0]", "str")
bad("grad of a wrong shape", "w.grad = v3", (VALUE, RUNTIME), "grad", "(3,)", "(3, 2)")
bad("grad of a wrong dtype", "w.grad = torch.zeros(3, 2, dtype=torch.float64)", (TYPE, RUNTIME), "grad", "float64")
bad("grad of a list", "w.grad = [1.0]", TYPE, "grad", "[1.0]")
bad("its own grad", "w.grad = w", RUNTIME, "grad")
bad("detach_ of a view", "w[0].detach_()", RUNTIME, "detach_", "view")
bad("no_grad of text", "torch.set_grad_enabled('x')", TYPE, "set_grad_enabled", "x")
bad("clip to text", "nn.utils.clip_grad_norm_(model.parameters(), 'x')", (TYPE, VALUE), "x")
bad("clip by a norm below 0", "nn.utils.clip_grad_norm_(model.parameters(), 1.0, norm_type=-2)", VALUE, "norm_type",
    "-2")  # fmt: skip
bad("vector of a wrong length", "nn.utils.vector_to_parameters(v3, model.parameters())", (VALUE, RUNTIME), "3", "26")

# ---- Random numbers ---------------------------------------------------------------------------------------------

bad("manual_seed of text", "torch.manual_seed('x')", TYPE, "manual_seed", "'x'")
bad("manual_seed 1.5", "torch.manual_seed(1.5)", TYPE, "manual_seed", "1.5")
bad("manual_seed 2**65", "torch.manual_seed(2**65)", (RUNTIME, OverflowError), "manual_seed", "36893488147419103232")
bad("generator seed", "gen.manual_seed(None)", TYPE, "manual_seed", "None")
bad("generator of ints", "torch.rand(2, generator=1)", TYPE, "rand", "generator", "1")
bad("generator on cuda", "torch.Generator('cuda')", RUNTIME, "device", "'cuda'")
bad("state of floats", "gen.set_state(a)", TYPE, "set_state", "float32", "(2, 3)")
bad("state too short", "gen.set_state(torch.zeros(3, dtype=torch.uint8))", (VALUE, RUNTIME), "set_state", "3")
bad("state of zeros", "gen.set_state(torch.zeros(5056, dtype=torch.uint8))", (VALUE, RUNTIME), "set_state")
bad("state of a list", "gen.set_state([1, 2])", TYPE, "set_state")
bad("rng state", "torch.set_rng_state(None)", TYPE, "set_state")
bad("randint empty", "torch.randint(3, 3, (2,))", (VALUE, RUNTIME), "from=3", "to=3")
bad("randint reversed", "torch.randint(5, 2, (2,))", (VALUE, RUNTIME), "from=5", "to=2")
bad("randint without size", "torch.randint(3)", TYPE, "randint", "size")
bad("randint of floats", "torch.randint(0.5, 2, (2,))", TYPE, "randint", "0.5")
bad("randn of ints", "torch.randn(2, dtype=torch.int64)", (TYPE, RUNTIME), "randn", "int64")
bad("rand of bool", "torch.rand(2, dtype=torch.bool)", (TYPE, RUNTIME), "rand", "bool")
bad("normal std", "torch.normal(0.0, -1.0, (2,))", (VALUE, RUNTIME), "normal", "std", "-1")
bad("normal_ std", "a.normal_(0.0, -2.0)", (VALUE, RUNTIME), "normal_", "std", "-2")
bad("normal_ of ints", "i.normal_()", (TYPE, RUNTIME), "normal_", "int64")
bad("uniform_ reversed", "a.uniform_(2.0, 1.0)", (VALUE, RUNTIME), "uniform_", "2", "1")
bad("uniform_ to inf", "a.uniform_(0.0, float('inf'))", (VALUE, RUNTIME), "uniform_", "inf")
bad("uniform_ of ints", "i.uniform_()", (TYPE, RUNTIME), "uniform_", "int64")
bad("uniform_ on a leaf", "w.uniform_()", RUNTIME, "uniform_", "leaf")
bad("bernoulli_ p", "a.bernoulli_(1.5)", (VALUE, RUNTIME), "bernoulli_", "p", "1.5")
bad("random_ reversed", "a.random_(5, 3)", (VALUE, RUNTIME), "random_", "5", "3")
bad("randperm too large", "torch.randperm(300, dtype=torch.uint8)", (VALUE, RUNTIME), "randperm", "300", "uint8")
bad("fan of 1-D", "nn.init.kaiming_uniform_(v3)", VALUE, "kaiming_uniform_", "(3,)")
bad("fan of 0-D", "nn.init.xavier_normal_(s)", VALUE, "xavier_normal_", "()")
bad("unknown mode", "nn.init.kaiming_normal_(a, mode='fan_up')", VALUE, "kaiming_normal_", "fan_up")
bad("unknown nonlinearity", "nn.init.kaiming_normal_(a, nonlinearity='x')", VALUE, "kaiming_normal_", "nonlinearity x")
bad("slope of text", "nn.init.kaiming_uniform_(a, a='steep')", VALUE, "kaiming_uniform_", "a", "'steep'")
bad("gain of text", "nn.init.calculate_gain('leaky_relu', 'steep')", VALUE, "calculate_gain", "param", "'steep'")
bad("gain of a bool", "nn.init.calculate_gain('leaky_relu', True)", VALUE, "calculate_gain", "param", "True")
bad("unknown gain", "nn.init.calculate_gain('swish')", VALUE, "calculate_gain", "swish")
bad("init of a list", "nn.init.kaiming_uniform_([1.0])", TYPE, "kaiming_uniform_", "[1.0]")
bad("init generator", "nn.init.xavier_uniform_(a, generator=3)", TYPE, "xavier_uniform_", "generator", "3")
bad("init of ints", "nn.init.kaiming_uniform_(i)", (TYPE, RUNTIME), "int64")
bad("trunc_normal_ std", "nn.init.trunc_normal_(a, std=-1.0)", (VALUE, RUNTIME), "trunc_normal_", "-1")
bad("eye_ of a vector", "nn.init.eye_(v3)", VALUE, "eye_", "(3,)")

# ---- Modules ----------------------------------------------------------------------------------------------------

bad("Sequential of a number", "nn.Sequential(nn.ReLU(), 3)", TYPE, "'1'", "Module", "int")
bad("Sequential of a class", "nn.Sequential(nn.ReLU)", TYPE, "'0'", "Module", "type")
bad("Sequential index", "model[3]", INDEX, "Sequential", "3")
bad("Sequential by name", "model['0']", TYPE, "str")
bad("append a function", "model.append(torch.relu)", TYPE, "Module")
bad("insert out of range", "model.insert(9, nn.ReLU())", INDEX, "insert", "9")
bad("delete out of range", "del model[5]", INDEX, "5")
bad("ModuleList of numbers", "nn.ModuleList([nn.ReLU(), 3])", TYPE, "Module", "int")
bad("ModuleDict of numbers", "nn.ModuleDict({'x': 3})", TYPE, "Module", "int")
bad("missing attribute", "model.weight", ATTRIBUTE, "Sequential", "weight")
bad("delete a missing attribute", "del model.weight", ATTRIBUTE, "weight")
bad("parameter before init", "Early()", ATTRIBUTE, "__init__")
bad("register a tensor", "model.register_parameter('extra', a)", TYPE, "'extra'", "Parameter", "Tensor")
bad("register with a dot", "model.register_parameter('a.b', p)", KEY, "a.b")
bad("register without a name", "model.register_parameter('', p)", KEY, "empty")
bad("register a number as name", "model.register_parameter(3, p)", TYPE, "string", "int")
bad("register over a method", "model.register_parameter('forward', p)", KEY, "forward")
bad("register a buffer of floats", "model.register_buffer('extra', 1.0)", TYPE, "'extra'", "Tensor", "float")
bad("replace a parameter", "model[0].weight = a", TYPE, "weight", "Parameter", "Tensor")
bad("replace a module", "model.layer = 3", TYPE, "layer", "Module", "int", setup="model.layer = nn.ReLU()")
bad("Parameter of a list", "nn.Parameter([1.0])", TYPE, "Parameter", "list")
bad("Parameter of ints", "nn.Parameter(i)", RUNTIME, "floating", "int64")
bad("no forward", "nn.Module()(a)", NotImplementedError, "forward")
bad("call without input", "model()", TYPE, "input")
bad("call with two inputs", "model(x, x)", TYPE, "2")
bad("call on a list", "model([1.0, 2.0, 3.0])", TYPE, "linear", "input")
bad("train of text", "model.train('yes')", VALUE, "train", "'yes'")
bad("to int64", "model.to(torch.int64)", TYPE, "to", "int64")
bad("to nothing known", "model.to(3.5)", TYPE, "to", "float")
bad("module to cuda", "model.to('cuda')", RUNTIME, "cuda")
bad("get_submodule", "model.get_submodule('0.x')", ATTRIBUTE, "get_submodule", "0.x")
bad("get_parameter", "model.get_parameter('0.x')", ATTRIBUTE, "get_parameter", "0.x")
bad("load nothing", "model.load_state_dict({})", RUNTIME, "Missing", "0.weight", "2.bias")
bad("load a list", "model.load_state_dict([1])", TYPE, "load_state_dict", "list")
bad("load None", "model.load_state_dict(None)", TYPE, "load_state_dict", "None")
bad("load with a key missing", "model.load_state_dict(saved)", RUNTIME, "loading state_dict", "Missing", '"0.bias"',
    setup="saved = model.state_dict(); del saved['0.bias']")  # fmt: skip
bad("load with a key too many", "model.load_state_dict({**model.state_dict(), '9.bias': a})", RUNTIME,
    "loading state_dict", "Unexpected", '"9.bias"')  # fmt: skip
bad("load a misshapen tensor last", "model.load_state_dict(saved)", RUNTIME, "size mismatch", "2.bias", "[3]", "[2]",
    setup="saved = {k: v + 1 for k, v in model.state_dict().items()}; saved['2.bias'] = v3")  # fmt: skip
bad("load a misshapen tensor, not strictly", "model.load_state_dict({'0.weight': a}, strict=False)", RUNTIME,
    "size mismatch", "0.weight")  # fmt: skip
bad("load numbers", "model.load_state_dict({**model.state_dict(), '0.weight': 3})", RUNTIME, "0.weight", "int")
bad("load arrays", "model.load_state_dict({k: v.numpy() for k, v in model.state_dict().items()})", RUNTIME, "ndarray")

# ---- Optimizers and schedules -----------------------------------------------------------------------------------

for _class in ("SGD", "Adam"):
    _make = f"optim.{_class}(model.parameters(), "
    bad(f"{_class} lr negative", _make + "lr=-0.1)", VALUE, _class, "lr", "-0.1")
    bad(f"{_class} lr nan", _make + "lr=float('nan'))", VALUE, _class, "lr", "nan")
    bad(f"{_class} lr of text", _make + "lr='x')", (TYPE, VALUE), _class, "lr", "str")
    bad(f"{_class} lr None", _make + "lr=None)", (TYPE, VALUE), _class, "lr", "None")
    bad(f"{_class} weight_decay", _make + "lr=0.1, weight_decay=-1)", VALUE, _class, "weight_decay", "-1")
    bad(f"{_class} unknown option", _make + "lr=0.1, speed=3)", TYPE, "speed")
    bad(f"{_class} of nothing", f"optim.{_class}([], lr=0.1)", VALUE, _class, "empty")
    bad(f"{_class} of one tensor", f"optim.{_class}(w, lr=0.1)", TYPE, _class, "iterable")
    bad(f"{_class} of numbers", f"optim.{_class}([1.0], lr=0.1)", TYPE, _class, "params[0]", "float")
    bad(f"{_class} of a result", f"optim.{_class}([y], lr=0.1)", VALUE, _class, "leaf", "params[0]")
    bad(f"{_class} of a model", f"optim.{_class}(model, lr=0.1)", TYPE, "params[0]", "Linear")
    bad(f"{_class} differentiable", _make + "lr=0.1, differentiable=True)", NotImplementedError, _class, "True")
bad("SGD momentum", "optim.SGD([w], lr=0.1, momentum=-0.9)", VALUE, "SGD", "momentum", "-0.9")
bad("SGD momentum nan", "optim.SGD([w], lr=0.1, momentum=float('nan'))", VALUE, "SGD", "momentum", "nan")
bad("SGD dampening nan", "optim.SGD([w], lr=0.1, dampening=float('nan'))", VALUE, "SGD", "dampening", "nan")
bad("SGD dampening of text", "optim.SGD([w], lr=0.1, dampening='x')", (TYPE, VALUE), "SGD", "dampening", "str")
bad("SGD nesterov", "optim.SGD([w], lr=0.1, nesterov=True)", VALUE, "SGD", "nesterov", "momentum=0")
bad("Adam beta 1", "optim.Adam([w], betas=(1.0, 0.9))", VALUE, "Adam", "beta", "index 0", "1.0")
bad("Adam beta 2", "optim.Adam([w], betas=(0.9, -0.1))", VALUE, "Adam", "beta", "index 1", "-0.1")
bad("Adam beta nan", "optim.Adam([w], betas=(0.9, float('nan')))", VALUE, "Adam", "index 1", "nan")
bad("Adam beta of text", "optim.Adam([w], betas=('a', 0.9))", (TYPE, VALUE), "Adam", "index 0", "'a'")
bad("Adam three betas", "optim.Adam([w], betas=(0.9, 0.9, 0.9))", (TYPE, VALUE), "Adam", "betas", "(0.9, 0.9, 0.9)")
bad("Adam one beta", "optim.Adam([w], betas=0.9)", (TYPE, VALUE), "Adam", "betas", "0.9")
bad("Adam eps", "optim.Adam([w], eps=-1e-8)", VALUE, "Adam", "eps", "-1e-08")
bad("Adam eps nan", "optim.Adam([w], eps=float('nan'))", VALUE, "Adam", "eps", "nan")
bad("parameter in two groups", "optim.SGD([{'params': [w]}, {'params': [w]}], lr=0.1)", VALUE, "SGD", "more than one")
bad("group without params", "optim.SGD([{'lr': 0.1}])", KEY, "params")
bad("group of a set", "optim.SGD([{'params': {w}}], lr=0.1)", TYPE, "SGD", "set")
bad("group with a bad lr", "sgd.add_param_group({'params': [w], 'lr': -1.0})", VALUE, "SGD", "lr", "-1.0")
bad("group of numbers", "sgd.add_param_group([1])", TYPE, "SGD", "list")
bad("group known already", "sgd.add_param_group({'params': list(model.parameters())})", VALUE, "SGD", "more than one")
bad("load an optimizer from nothing", "sgd.load_state_dict({})", KEY, "param_groups")
bad("load an optimizer from a list", "sgd.load_state_dict([1])", (TYPE, KEY), "SGD.load_state_dict", "list")
bad("load an optimizer without state", "adam.load_state_dict({'param_groups': adam.state_dict()['param_groups']})",
    KEY, "state")  # fmt: skip
bad("load other groups", "adam.load_state_dict({'state': {}, 'param_groups': []})", VALUE, "Adam", "0", "1")
bad("load other parameters", "sgd.load_state_dict(saved)", VALUE, "SGD", "group 0", "3", "4",
    setup="saved = sgd.state_dict(); saved['param_groups'][0]['params'].pop()")  # fmt: skip
bad("load a bad lr", "sgd.load_state_dict(saved)", VALUE, "SGD", "lr", "-1",
    setup="saved = sgd.state_dict(); saved['param_groups'][0]['lr'] = -1")  # fmt: skip
bad("load a group without lr", "sgd.load_state_dict(saved)", (KEY, VALUE), "lr",
    setup="saved = sgd.state_dict(); del saved['param_groups'][0]['lr']")  # fmt: skip
bad("load misshapen state", "adam.load_state_dict(saved)", (VALUE, RUNTIME), "Adam", "exp_avg", "(7,)",
    setup="saved = __import__('copy').deepcopy(adam.state_dict());"
    " saved['state'][3]['exp_avg'] = torch.ones(7)")  # fmt: skip
bad("load a misshapen buffer", "sgd.load_state_dict(saved)", (VALUE, RUNTIME), "SGD", "momentum_buffer", "(7,)",
    setup="saved = __import__('copy').deepcopy(sgd.state_dict());"
    " saved['state'][3]['momentum_buffer'] = torch.ones(7)")  # fmt: skip
bad("load state of text", "sgd.load_state_dict({**sgd.state_dict(), 'state': 'x'})", (TYPE, VALUE), "SGD", "state")
bad("step with a bad lr", "sgd.step()", (TYPE, VALUE), "lr", "x", setup="sgd.param_groups[0]['lr'] = 'x'")
bad("closure of text", "sgd.step('x')", TYPE, "str")
bad("schedule of a model", "StepLR(model, 3)", TYPE, "StepLR", "Sequential")
bad("schedule of 0 epochs", "StepLR(sgd, 0)", (VALUE, ZeroDivisionError), "step_size", "0")
bad("schedule of text", "StepLR(sgd, 'x')", (TYPE, VALUE), "step_size", "'x'")
bad("resume without a start", "StepLR(sgd, 2, last_epoch=3)", KEY, "initial_lr")

# ---- Data sets and loaders --------------------------------------------------------------------------------------

for _size in ("0", "-2", "2.5", "'4'", "True"):
    bad(f"batch_size {_size}", f"DataLoader(data, batch_size={_size})", VALUE, "DataLoader", "batch_size", _size)
bad("shuffle and sampler", "DataLoader(data, shuffle=True, sampler=[0, 1])", VALUE, "DataLoader", "sampler", "shuffle")
bad("batch_sampler and batch_size", "DataLoader(data, batch_size=2, batch_sampler=[[0]])", VALUE, "batch_sampler")
bad("batch_sampler and drop_last", "DataLoader(data, drop_last=True, batch_sampler=[[0]])", VALUE, "drop_last")
bad("no batches and drop_last", "DataLoader(data, batch_size=None, drop_last=True)", VALUE, "drop_last")
bad("drop_last of text", "DataLoader(data, drop_last='x')", (TYPE, VALUE), "drop_last", "'x'")
bad("num_workers -1", "DataLoader(data, num_workers=-1)", VALUE, "num_workers", "-1")
bad("num_workers of text", "DataLoader(data, num_workers='2')", (TYPE, VALUE), "num_workers", "'2'")
bad("prefetch_factor", "DataLoader(data, prefetch_factor=2)", VALUE, "prefetch_factor")
bad("timeout", "DataLoader(data, timeout=-1)", VALUE, "timeout", "-1")
bad("loader generator", "DataLoader(data, shuffle=True, generator=3)", TYPE, "DataLoader", "generator", "int")
bad("shuffle nothing", "DataLoader(TensorDataset(e), shuffle=True)", VALUE, "num_samples", "0")
bad("change the batch size", "loader.batch_size = 2", VALUE, "DataLoader", "batch_size")
bad("unknown loader option", "DataLoader(data, batchsize=2)", TYPE, "batchsize")
bad("sampler out of range", "list(batches)", INDEX, "99", setup="batches = iter(DataLoader(data, sampler=[0, 99]))")
bad("batch sampler out of range", "list(batches)", INDEX, "-1", "10",
    setup="batches = iter(DataLoader(data, batch_sampler=[[0, -11]]))")  # fmt: skip
bad("unequal lengths", "TensorDataset(a, v3)", (VALUE, AssertionError), "TensorDataset", "(2, 3)", "(3,)")
bad("TensorDataset of a list", "TensorDataset([1, 2])", TYPE, "TensorDataset", "list")
bad("TensorDataset of 0-d", "TensorDataset(s)", (VALUE, AssertionError), "TensorDataset", "dimensions")
bad("TensorDataset index", "data[10]", INDEX, "10")
bad("random_split sum", "random_split(data, [3, 3])", VALUE, "random_split", "[3, 3]", "10")
bad("random_split negative", "random_split(data, [12, -2])", VALUE, "random_split", "-2")
bad("random_split floats", "random_split(data, [7.5, 2.5])", (VALUE, TYPE), "random_split", "7.5")
bad("random_split fractions", "random_split(data, [1.5, -0.5])", VALUE, "random_split", "1.5")
bad("random_split generator", "random_split(data, [5, 5], generator=7)", TYPE, "generator", "7")
bad("collate objects", "list(batches)", TYPE, "default_collate", "object",
    setup="batches = iter(DataLoader([object(), object()], batch_size=2))")  # fmt: skip
bad("collate shapes", "list(batches)", (VALUE, RUNTIME), "stack", "(2, 3)", "(4, 5)",
    setup="batches = iter(DataLoader([a, b], batch_size=2))")  # fmt: skip
bad("collate lengths", "list(batches)", RUNTIME, "default_collate", "[2, 1]",
    setup="batches = iter(DataLoader([(1, 2), (3,)], batch_size=2))")  # fmt: skip
bad("collate None", "list(batches)", TYPE, "default_collate", "NoneType",
    setup="batches = iter(DataLoader([None], batch_size=1))")  # fmt: skip
bad("loader of a number", "list(batches)", TYPE, "int", setup="batches = iter(DataLoader(3))")
bad("RandomSampler size", "torch.utils.data.RandomSampler(data, num_samples=0)", VALUE, "num_samples", "0")
bad("RandomSampler replacement", "torch.utils.data.RandomSampler(data, replacement='x')", TYPE, "replacement", "'x'")
