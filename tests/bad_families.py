"""More malformed calls, by family: rows of `op | code | types | words`, read by `bad_calls.py`.

The name of the op must be in the message in every row, beside the words.
"""

from __future__ import annotations

__all__ = ["ROWS"]

# Types: V ValueError, T TypeError, R RuntimeError, I IndexError, K KeyError, A AttributeError, N NotImplementedError,
# B BufferError.
ROWS = """
var | torch.var(i) | TR | int64
std | torch.std(i, 0) | TR | int64
var | a.var(5) | I | 5
std_mean | torch.std_mean(a, (0, 0)) | R | 0
amax | torch.amax(e, 0) | IR | 0
amin | e.amin() | R | 0
argmax | torch.argmax(a, 3) | I | 3
argmin | e.argmin(0) | IR | 0
max | torch.max(e) | R |
min | a.min(7) | I | 7
median | a.median(4) | I | 4
median | e.median(0) | I | 0
kthvalue | torch.kthvalue(a, 9) | R | 9
kthvalue | a.kthvalue(0, 0) | R | 0
topk | torch.topk(a, 7) | R | 7
topk | a.topk(-1) | R | -1
sort | torch.sort(a, 4) | I | 4
argsort | a.argsort(-5) | I | -5
logsumexp | torch.logsumexp(a, 3) | I | 3
cumsum | torch.cumsum(a, 2) | I | 2
cumprod | a.cumprod(-4) | I | -4
prod | torch.prod(a, 9) | I | 9
norm | torch.norm(a, 2, 5) | I | 5
quantile | torch.quantile(a, 1.5) | R | 1.5
quantile | torch.quantile(i, 0.5) | R | int64
quantile | a.quantile(0.5, interpolation='cubic') | R | cubic
nanmean | torch.nanmean(i) | R | int64
nanmedian | torch.empty(0, 2).nanmedian(0) | I | 0
cummax | a.cummax(4) | I | 4
cummin | torch.cummin(a, -3) | I | -3
logcumsumexp | torch.logcumsumexp(i, 0) | NR | int64
diff | torch.diff(s) | R | one-dimensional
diff | torch.diff(a, -1) | R | -1
aminmax | torch.aminmax(e) | R |
cov | torch.cov(torch.ones(2, 2, 2)) | R | 3
cov | torch.cov(a, aweights=v4) | R | aweights | 4
corrcoef | torch.corrcoef(torch.ones(2, 2, 2)) | R | 3
trapezoid | torch.trapezoid(a, v4) | R | 4
renorm | torch.renorm(a, -1, 0, 1.0) | R | -1
renorm | torch.renorm(v3, 2, 0, 1.0) | R | 1
sum_to_size | a.sum_to_size(4, 4) | R | 4
gather | torch.gather(a, 0, i) | RI | 2
gather | a.gather(3, i) | I | 3
gather | a.gather(0, a) | TRI | float32
scatter | a.scatter(0, i, 1.0) | RI | 2
scatter_add | torch.scatter_add(a, 5, i, a) | I | 5
index_select | torch.index_select(a, 0, labels + 9) | I | 9
index_select | torch.index_select(a, 3, labels) | I | 3
index_add | a.index_add(0, labels, a) | R | 5
index_copy | a.index_copy(0, torch.tensor([7]), a[:1]) | IR | 7
index_fill | a.index_fill(1, torch.tensor([8]), 0.0) | IR | 8
index_put | torch.index_put(a, (labels,), i) | R | int64
index_put_ | a.index_put_(3, a) | T | int
put_ | a.put_(torch.tensor([9]), v3[:1]) | I | 9
put_ | a.put_(a, v3) | I | float32
masked_fill | a.masked_fill(i, 0.0) | TR | int64
masked_fill | a.masked_fill(m.reshape(3, 2), 0.0) | VR | (3, 2)
masked_select | torch.masked_select(a, a) | TR | float32
masked_scatter | a.masked_scatter(m, v3[:1]) | R | 1
take | torch.take(a, torch.tensor([6])) | IR | 6
take_along_dim | torch.take_along_dim(a, i, 4) | I | 4
one_hot | F.one_hot(labels - 1) | R | -1
one_hot | F.one_hot(labels, 1) | R | 1
embedding | F.embedding(labels + 9, a) | I | 9
embedding | F.embedding(a, a) | TR | float32
nonzero | torch.nonzero(a, as_tuple=3, k=1) | T | k
split | torch.split(a, -1) | R | -1
split | a.split([1, 5]) | R | 6
chunk | a.chunk(0) | R | 0
unbind | s.unbind() | I | 0
tensor_split | torch.tensor_split(a, 0) | R | 0
tensor_split | torch.tensor_split(s, 2) | R | 0
hsplit | torch.hsplit(a, 2) | R | 2
vsplit | torch.vsplit(v3, 1) | R | 2
dsplit | torch.dsplit(a, 1) | R | 3
flip | a.flip(3) | I | 3
flip | a.flip(0, 0) | R | 0
fliplr | torch.fliplr(v3) | R | 3
rot90 | torch.rot90(a, 1, (0, 0)) | R | (0, 0)
rot90 | torch.rot90(v3) | R | 1
roll | torch.roll(a, (1, 2), (0,)) | R |
repeat | a.repeat(2) | R |
repeat | a.repeat(-1, 1) | R | -1
repeat_interleave | torch.repeat_interleave(a, torch.tensor([1, 2, 3]), 0) | R | 3
tril | torch.tril(v3) | R |
diag | torch.diag(torch.ones(2, 2, 2)) | R | (2, 2, 2)
diagonal | a.diagonal(0, 1, 1) | R | 1
diag_embed | torch.diag_embed(s) | RI | -2
diag_embed | torch.diag_embed(a, 0, 1, 1) | R | 1
diagonal_scatter | torch.diagonal_scatter(a, v4) | RV | (4,)
select_scatter | a.select_scatter(v4, 0, 0) | RV | (4,)
slice_scatter | a.slice_scatter(b) | RV | (4, 5)
as_strided | a.as_strided((3, 3), (3, 1)) | R | 6
as_strided | a.as_strided((2,), (1, 1)) | R | stride
as_strided | a.as_strided((2,), (-1,)) | R | -1
as_strided | a.as_strided((2,), (1,), -1) | R | -1
movedim | torch.movedim(a, 0, 5) | I | 5
movedim | torch.movedim(a, (0, 1), (0,)) | R |
unflatten | a.unflatten(1, (2, 2)) | R | 3
expand | a.expand(3, 3) | VR | (3, 3)
broadcast_to | torch.broadcast_to(a, (3, 2)) | VR | (3, 2)
broadcast_shapes | torch.broadcast_shapes((2,), (3,)) | VR | 3
broadcast_tensors | torch.broadcast_tensors(a, 3) | T | int
meshgrid | torch.meshgrid(a) | R | (2, 3)
meshgrid | torch.meshgrid(v3, indexing='yx') | R | yx
meshgrid | torch.meshgrid(v3, i[0]) | R | int64
cartesian_prod | torch.cartesian_prod(a) | R | (2, 3)
combinations | torch.combinations(a) | R | (2, 3)
combinations | torch.combinations(v3, -2) | R | -2
hstack | torch.hstack([]) | R |
vstack | torch.vstack([a, 3]) | T | int
block_diag | torch.block_diag(torch.ones(1, 1, 1)) | R | 3
tril_indices | torch.tril_indices(-1, 2) | R | -1
unravel_index | torch.unravel_index(a, (2, 3)) | V | float32
einsum | torch.einsum('ij,jk->ik', a, a) | R | j
einsum | torch.einsum('ij', a, a) | R | 2
einsum | torch.einsum('i1', a) | R | i1
einsum | torch.einsum('ij->iz', a) | R | z
einsum | torch.einsum('i->i', a) | R | 2
einsum | torch.einsum('ij->ii', a) | R | ii
einsum | torch.einsum(3, a) | T | int
tensordot | torch.tensordot(a, b, 1) | R | 3
tensordot | torch.tensordot(a, b, 5) | R | 5
tensordot | torch.tensordot(a, b, ([0, 0], [0, 1])) | R | 0
addmm | torch.addmm(a, a, a) | VR | (2, 3)
addmm | torch.addmm(b, a, p.t()) | VR | (4, 5)
addmv | torch.addmv(v3, a, v4) | VR | (4,)
addr | torch.addr(a, a, v3) | VR | (2, 3)
baddbmm | torch.baddbmm(a, a, a) | VR |
inner | torch.inner(a, b) | VR | (4, 5)
dot | torch.dot(v3, v4) | VR | 4
trace | torch.trace(v3) | VR | (3,)
cross | torch.cross(b, b, dim=1) | R | 5
matrix_power | torch.matrix_power(a, 2) | R | (2, 3)
cdist | torch.cdist(a, b) | R | 5
cdist | torch.cdist(v3, a) | R | 1
linalg.inv | torch.linalg.inv(a) | R | 2
linalg.inv | torch.linalg.inv(torch.zeros(2, 2)) | R | Singular
linalg.solve | torch.linalg.solve(torch.eye(3), v4) | R | (4,)
linalg.cholesky | torch.linalg.cholesky(-torch.eye(2)) | R | positive
linalg.det | torch.linalg.det(v3) | R | (3,)
linalg.norm | torch.linalg.norm(torch.ones(2, 2, 2), 2) | R | 3
linalg.matrix_norm | torch.linalg.matrix_norm(a, 7) | R | 7
multi_dot | torch.linalg.multi_dot([a]) | R | 1
lerp | torch.lerp(a, i, 0.5) | TR | int64
clamp | torch.clamp(a) | R | None
clamp | torch.clamp(m, 0, 1) | TR | bool
round | torch.round(i, decimals=2) | TR | int64
rounding_mode | torch.div(a, 2, rounding_mode='up') | VR | up
atan2 | torch.atan2(a, b) | VR | (4, 5)
fmod | torch.fmod(m, m) | TR | bool
addcdiv | torch.addcdiv(i, i, i) | TR | int64
addcmul | torch.addcmul(a, b, b) | VR | (4, 5)
heaviside | torch.heaviside(a, i) | R | int64
isclose | torch.isclose(a, i) | TR | int64
isclose | torch.isclose(a, a, rtol=-1.0) | R | -1.0
allclose | torch.allclose(a, 3) | T | int
equal | torch.equal(a, 3) | T | int
fmax | torch.fmax(a, 2.0) | T | float
logaddexp | torch.logaddexp(i, i) | NR | int64
gcd | torch.gcd(a, a) | N | float32
searchsorted | torch.searchsorted(a, v3) | R | (2, 3)
searchsorted | torch.searchsorted(v3, v3, side='middle') | R | middle
bucketize | torch.bucketize(v3, a) | R | 2
bincount | torch.bincount(labels - 1) | R |
bincount | torch.bincount(labels, minlength=-1) | R | -1
histc | torch.histc(a, 0) | R | 0
histc | torch.histc(a, 3, 5, 1) | R | 5.0
unique | torch.unique(a, dim=4) | I | 4
mode | torch.mode(a, 5) | I | 5
isin | torch.isin(1, 2) | T | 1
multinomial | torch.multinomial(v3.abs(), 4) | R | 4
multinomial | torch.multinomial(-v3.abs(), 1) | R |
multinomial | torch.multinomial(i, 1) | R | int64
bernoulli | torch.bernoulli(a * 9) | R |
normal | torch.normal(a, -1.0) | R | -1.0
normal | torch.normal(i, 1.0) | R | int64
normal | torch.normal(0.0, 1.0) | T | size
exponential_ | a.exponential_(-1.0) | R | -1.0
geometric_ | a.geometric_(2.0) | R | 2.0
cauchy_ | a.cauchy_(0.0, -1.0) | R | -1.0
log_normal_ | a.log_normal_(0.0, -1.0) | R | -1.0
randint_like | torch.randint_like(a, 5, 2) | R | 5
logspace | torch.logspace(0, 1, -1) | R | -1
empty_strided | torch.empty_strided((2,), (1, 1)) | R | (1, 1)
vander | torch.vander(a) | R | (2, 3)
frombuffer | torch.frombuffer(b'abc', dtype=torch.float32) | V | 3
asarray | torch.asarray([1], copy=False) | V | copy
from_dlpack | torch.from_dlpack(3) | T | int
finfo | torch.finfo(torch.int64) | T | int64
iinfo | torch.iinfo(torch.float32) | T | float32
result_type | torch.result_type('x', a) | T | x
promote_types | torch.promote_types(3, torch.float32) | T | 3
can_cast | torch.can_cast(torch.float32, 'f') | T | f
is_floating_point | torch.is_floating_point(3) | T | 3
is_nonzero | torch.is_nonzero(a) | R | 6
set_num_threads | torch.set_num_threads(-1) | R | -1
pad | F.pad(a, (1,)) | R | 1
pad | F.pad(a, (1, 1), mode='mirror') | N | mirror
pad | F.pad(a, (5, 5), mode='reflect') | R | 5
cosine_embedding_loss | F.cosine_embedding_loss(a, a, s) | R | (2, 3)
triplet_margin_loss | F.triplet_margin_loss(a, a, a, margin=-1.0) | V | -1.0
multi_margin_loss | F.multi_margin_loss(logits, labels, p=3) | V | 3
gaussian_nll_loss | F.gaussian_nll_loss(a, a, -1.0) | V | negative
scaled_dot_product_attention | F.scaled_dot_product_attention(v3, v3, v3) | R | (3,)
bilinear | F.bilinear(a, b, torch.ones(1, 3, 5)) | R | (4, 5)
margin_ranking_loss | F.margin_ranking_loss(a, a, v3) | R | (3,)
Residual | torch.nn.Residual(model[0])(a) | VR | (2, 4)
ParameterList | torch.nn.ParameterList()[0] | I | 0
ParameterList | torch.nn.ParameterList(3) | T | int
ParameterDict | torch.nn.ParameterDict(3) | T | int
Unflatten | torch.nn.Unflatten(0, 3) | T | int
TripletMarginLoss | torch.nn.TripletMarginLoss(margin=-1.0) | V | -1.0
MultiMarginLoss | torch.nn.MultiMarginLoss(p=5) | V | 5
AdamW | torch.optim.AdamW([w], lr=-1.0) | V | -1.0
AdamW | torch.optim.AdamW([w], betas=(0.9, 1.5)) | V | 1.5
RMSprop | torch.optim.RMSprop([w], alpha=-0.5) | V | -0.5
RMSprop | torch.optim.RMSprop([w], capturable=True) | N | capturable
Adagrad | torch.optim.Adagrad([w], lr_decay=-1) | V | -1
Adadelta | torch.optim.Adadelta([w], rho=2.0) | V | 2.0
Adamax | torch.optim.Adamax([w], eps=-1.0) | V | -1.0
NAdam | torch.optim.NAdam([w], momentum_decay=-1.0) | V | -1.0
RAdam | torch.optim.RAdam([w], betas=0.9) | V | 0.9
Rprop | torch.optim.Rprop([w], etas=(2.0, 3.0)) | V | 2.0
CosineAnnealingWarmRestarts | torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(sgd, 0) | V | 0
LinearLR | torch.optim.lr_scheduler.LinearLR(sgd, 2.0) | V | 2.0
OneCycleLR | torch.optim.lr_scheduler.OneCycleLR(sgd, 0.1) | V | total_steps
CyclicLR | torch.optim.lr_scheduler.CyclicLR(sgd, 0.1, 1.0, mode='x') | V | x
ReduceLROnPlateau | torch.optim.lr_scheduler.ReduceLROnPlateau(sgd, 'up') | V | up
SequentialLR | torch.optim.lr_scheduler.SequentialLR(sgd, [], []) | V |
register_hook | a.register_hook(print) | R |
register_hook | w.register_hook(5) | T | 5
retain_grad | a.retain_grad() | R |
register_post_accumulate_grad_hook | y.register_post_accumulate_grad_hook(print) | R | non-leaf
save_for_backward | torch.autograd.function.FunctionCtx('f', print).save_for_backward(3) | T | int
gradcheck | torch.autograd.gradcheck(lambda t: t, (a,)) | V |
device | a.to('float32') | R | float32
to | a.to(torch.float32, torch.float64) | T | float64
to | a.to(nothing=1) | T | nothing
to | a.to(torch.float32, dtype=torch.float64) | T | dtype
to | a.to('cpu', torch.float32, False, False, None, 7) | T | 7
to | a.to(other=3) | T | 3
to | a.to(copy='yes') | T | yes
to | a.to(memory_format=torch.channels_last) | R | channels_last
device | a.to('cuda:0') | R | cuda:0
device | torch.device('tpu') | R | tpu
type | a.type('torch.HugeTensor') | T | HugeTensor
type | a.type(3) | T | 3
float | a.float(3) | T | 3
is_contiguous | a.is_contiguous(memory_format=5) | T | 5
FloatTensor | torch.FloatTensor(i) | T | int64
LongTensor | torch.LongTensor(2, 'a') | T | a
set_default_tensor_type | torch.set_default_tensor_type(torch.LongTensor) | T | LongTensor
set_default_tensor_type | torch.set_default_tensor_type('torch.IntTensor') | T | IntTensor
set_default_dtype | torch.set_default_dtype(torch.int64) | T | int64
finfo | torch.finfo(3) | T | 3
add | torch.add(a, 1.5, out=i) | TR | int64
add | torch.add(w, 1, out=a) | R | requires grad
add | torch.add(a, 1, out=w) | R | requires grad
add | torch.add(a, 1, out=5) | T | 5
exp | torch.exp(a, out=v3[:1].expand(2, 3)) | R | (2, 3)
max | torch.max(a, 1, out=v3) | T | 2
sort | torch.sort(a, out=(a.clone(), i.clone(), i.clone())) | T | 3
zeros | torch.zeros(2, dtype=torch.float64, out=v3) | TR | float64
matmul | torch.matmul(a, b, out=v3) | VR | (4, 5)
cat | torch.cat([a, a], out=i) | TR | int64
transpose | torch.transpose(a, 0, 1, out=b) | T | out
resize_ | w.resize_(2) | R | require grad
resize_ | a.view(6).resize_(40) | R | (40,)
resize_ | a.resize_(2.5) | T | 2.5
resize_ | a.resize_(-1) | VR | -1
set_ | a.set_(i) | TR | int64
set_ | a.set_(b, 0, (40,), (1,)) | R | 20
set_ | w.set_(b) | R | leaf
share_memory_ | a.share_memory_() | N | pickled
squeeze_ | y.squeeze_() | R | requires grad
t | torch.ones(2, 2, 2).t_() | VR | (2, 2, 2)
view | a.t().view(torch.uint8) | R | float32
view | s.view(torch.uint8) | R | uint8
view | v3.view(torch.float64) | R | (3,)
unfold | a.unfold(0, 3, 1) | R | 3
unfold | a.unfold(0, 1, 0) | R | 0
unfold | a.unfold(5, 1, 1) | I | 5
unfold | a.unfold(0, -1, 1) | R | -1
select | a.select(0, 7) | I | 7
select | a.select(4, 0) | I | 4
narrow | a.narrow(0, 1, 4) | R | 4
index | a[5] | I | 5
index | a[i + 9] | I | 9
index | a[torch.tensor([True, False, True])] | I | 3
index | a['x'] | TI | x
index | a[::-1] | V | -1
index | a[v3] | TI | float32
numpy | w.numpy() | R | detach()
from_numpy | torch.from_numpy(3) | T | int
from_numpy | torch.from_numpy(np.array(['a'])) | TR | a
from_numpy | torch.from_numpy(np.array([1 + 2j])) | TR | complex128
from_numpy | torch.from_numpy(np.arange(3, dtype='>f4')) | TRV | >f4
numpy | np.asarray(w) | R | detach()
buffer | memoryview(w) | BR | detach()
copy_ | torch.from_numpy(readonly).copy_(v4) | R | read-only
tensor | torch.tensor(np.array([None])) | T | object
item | a.item() | R | 6
len | len(s) | T | 0-d
int | int(a) | VRT | (2, 3)
float | float(a) | VRT | (2, 3)
format | f'{a:.3f}' | T | .3f
bool | bool(a) | R | (2, 3)
index | [1, 2][a[0, 0]] | T |
set_printoptions | torch.set_printoptions(profile='loud') | VT | loud
polygamma | torch.polygamma(-1, a) | R | -1
polygamma | torch.polygamma(1.5, a) | T | 1.5
mvlgamma | torch.mvlgamma(a, 0) | R | 0
scatter_reduce | a.scatter_reduce(0, i % 2, a, 'median') | R | median
scatter_reduce | a.scatter_reduce(0, i, a, 'amax') | RI | 2
scatter_reduce | a.scatter_reduce(0, i % 2, a.double(), 'sum') | R | float64
scatter_reduce | a.scatter_reduce(5, i, a, 'sum') | I | 5
index_reduce | a.index_reduce(0, labels, a, 'mean') | IR | (5,)
index_reduce | a.index_reduce(0, i[0, :2], a, 'sum') | R | sum
linalg.svd | torch.linalg.svd(v3) | R | (3,)
linalg.svd | torch.linalg.svd(i) | R | int64
linalg.eigh | torch.linalg.eigh(a) | R | 2 by 3
linalg.eigh | torch.linalg.eigh(torch.eye(2), 'X') | R | X
linalg.eig | torch.linalg.eig(torch.eye(2)) | N | complex
linalg.qr | torch.linalg.qr(a, 'full') | R | full
linalg.lstsq | torch.linalg.lstsq(a, v3) | R | (3,)
linalg.lstsq | torch.linalg.lstsq(a, a, driver='x') | R | x
linalg.solve_triangular | torch.linalg.solve_triangular(torch.eye(2), v3, upper=True) | R | (3,)
linalg.matrix_exp | torch.matrix_exp(a) | R | 2 by 3
linalg.cond | torch.linalg.cond(torch.eye(2), 3) | R | 3
LBFGS | torch.optim.LBFGS([w], lr=-1.0) | V | -1.0
LBFGS | torch.optim.LBFGS([w]).step() | T | None
LBFGS | torch.optim.LBFGS([{'params': [w]}, {'params': [p]}]) | V | groups
orthogonal_ | torch.nn.init.orthogonal_(v3) | V | (3,)
sparse_ | torch.nn.init.sparse_(v3, 0.5) | V | (3,)
LazyLinear | torch.nn.LazyLinear(3)(s) | VR | 0-d
WeightedRandomSampler | torch.utils.data.WeightedRandomSampler([[1.0]], 1) | V | (1, 1)
WeightedRandomSampler | torch.utils.data.WeightedRandomSampler([1.0], 0) | V | 0
StackDataset | torch.utils.data.StackDataset([1], [1, 2]) | V | [1, 2]
cuda | a.cuda() | R | CPU
cuda | torch.cuda.synchronize() | R | CPU
apply_ | w.apply_(abs) | R | requires grad
"""
