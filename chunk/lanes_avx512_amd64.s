#include "textflag.h"

// What is computed here, and why: lanes_amd64.go. Offsets in affineTables: overflow 0, out 56, excess 112, spread 128,
// gather 192.

// One row of sixteen bytes of four lanes: lanes r, r+16, r+32 and r+48.
#define ROW(X, Z) \
	VMOVDQU (R8), X                  \
	VINSERTI32X4 $1, (R9), Z, Z      \
	VINSERTI32X4 $2, (R10), Z, Z     \
	VINSERTI32X4 $3, (R11), Z, Z     \
	ADDQ DX, R8                      \
	ADDQ DX, R9                      \
	ADDQ DX, R10                     \
	ADDQ DX, R11                     \
	VPERMB Z, Z31, Z

// Exchange of two rows, by the low and high halves of each 128 bits or by 128 bits themselves.
#define DWORDS(A, B) VPUNPCKLDQ B, A, Z30; VPUNPCKHDQ B, A, B; VMOVDQA64 Z30, A
#define QWORDS(A, B) VPUNPCKLQDQ B, A, Z30; VPUNPCKHQDQ B, A, B; VMOVDQA64 Z30, A
#define OCTETS(A, B) VSHUFI32X4 $0x88, B, A, Z30; VSHUFI32X4 $0xdd, B, A, B; VMOVDQA64 Z30, A

// One plane of a step. T is in Z24, the byte that leaves in Z25.
#define PLANE(M, O, BELOW, P) \
	VGF2P8AFFINEQB $0, M, Z24, P     \
	VGF2P8AFFINEQB $0, O, Z25, Z26   \
	VPTERNLOGD $0x96, BELOW, Z26, P

// The same without a byte that leaves.
#define FIRST(M, BELOW, P) \
	VGF2P8AFFINEQB $0, M, Z24, P     \
	VPXORQ BELOW, P, P

// func lanesAVX512(t *affineTables, d *byte, stride, n int) uint64
//
// Z17…Z23 planes 0…6, Z24 T, Z25 out, Z26 Z28 temporary, Z27 the smallest of what was tested, Z29 zero,
// Z30 temporary of the transposition, Z31 the order of its bytes. Z0…Z15 rows, then matrices.
// DI t, SI first byte of lane 0, DX stride, CX groups left, BX ring, AX place in the ring.
TEXT ·lanesAVX512(SB), 0, $8256-40
	MOVQ t+0(FP), DI
	MOVQ d+8(FP), SI
	MOVQ stride+16(FP), DX
	MOVQ n+24(FP), CX
	SHRQ $4, CX
	LEAQ ring-8256(SP), BX
	ADDQ $63, BX
	ANDQ $-64, BX
	XORQ AX, AX
	MOVQ $4, R13 // groups until the window is full
	VPXORQ Z17, Z17, Z17
	VPXORQ Z18, Z18, Z18
	VPXORQ Z19, Z19, Z19
	VPXORQ Z20, Z20, Z20
	VPXORQ Z21, Z21, Z21
	VPXORQ Z22, Z22, Z22
	VPXORQ Z23, Z23, Z23
	VPTERNLOGD $0xff, Z27, Z27, Z27
	VMOVDQU64 128(DI), Z31

group:
	MOVQ DX, R12
	SHLQ $4, R12
	MOVQ SI, R8
	LEAQ (R8)(R12*1), R9
	LEAQ (R9)(R12*1), R10
	LEAQ (R10)(R12*1), R11
	ADDQ $16, SI
	ROW(X0, Z0)
	ROW(X1, Z1)
	ROW(X2, Z2)
	ROW(X3, Z3)
	ROW(X4, Z4)
	ROW(X5, Z5)
	ROW(X6, Z6)
	ROW(X7, Z7)
	ROW(X8, Z8)
	ROW(X9, Z9)
	ROW(X10, Z10)
	ROW(X11, Z11)
	ROW(X12, Z12)
	ROW(X13, Z13)
	ROW(X14, Z14)
	ROW(X15, Z15)

	DWORDS(Z0, Z1)
	DWORDS(Z2, Z3)
	DWORDS(Z4, Z5)
	DWORDS(Z6, Z7)
	DWORDS(Z8, Z9)
	DWORDS(Z10, Z11)
	DWORDS(Z12, Z13)
	DWORDS(Z14, Z15)
	QWORDS(Z0, Z2)
	QWORDS(Z1, Z3)
	QWORDS(Z4, Z6)
	QWORDS(Z5, Z7)
	QWORDS(Z8, Z10)
	QWORDS(Z9, Z11)
	QWORDS(Z12, Z14)
	QWORDS(Z13, Z15)
	OCTETS(Z0, Z4)
	OCTETS(Z1, Z5)
	OCTETS(Z2, Z6)
	OCTETS(Z3, Z7)
	OCTETS(Z8, Z12)
	OCTETS(Z9, Z13)
	OCTETS(Z10, Z14)
	OCTETS(Z11, Z15)
	OCTETS(Z0, Z8)
	OCTETS(Z1, Z9)
	OCTETS(Z2, Z10)
	OCTETS(Z3, Z11)
	OCTETS(Z4, Z12)
	OCTETS(Z5, Z13)
	OCTETS(Z6, Z14)
	OCTETS(Z7, Z15)

	// Z0…Z15 are columns now: 64 bytes of one position each.
	// The exchanges leave the two middle columns of each four in each other's place.
	LEAQ (BX)(AX*1), R9
	VMOVDQA64 Z0, 0(R9)
	VMOVDQA64 Z2, 64(R9)
	VMOVDQA64 Z1, 128(R9)
	VMOVDQA64 Z3, 192(R9)
	VMOVDQA64 Z4, 256(R9)
	VMOVDQA64 Z6, 320(R9)
	VMOVDQA64 Z5, 384(R9)
	VMOVDQA64 Z7, 448(R9)
	VMOVDQA64 Z8, 512(R9)
	VMOVDQA64 Z10, 576(R9)
	VMOVDQA64 Z9, 640(R9)
	VMOVDQA64 Z11, 704(R9)
	VMOVDQA64 Z12, 768(R9)
	VMOVDQA64 Z14, 832(R9)
	VMOVDQA64 Z13, 896(R9)
	VMOVDQA64 Z15, 960(R9)

	MOVQ AX, R10
	XORQ $4096, R10
	ADDQ BX, R10 // the same place 64 bytes ago
	ADDQ $1024, AX
	ANDQ $8191, AX
	MOVQ $16, R8

	VPBROADCASTQ 0(DI), Z0
	VPBROADCASTQ 8(DI), Z1
	VPBROADCASTQ 16(DI), Z2
	VPBROADCASTQ 24(DI), Z3
	VPBROADCASTQ 32(DI), Z4
	VPBROADCASTQ 40(DI), Z5
	VPBROADCASTQ 48(DI), Z6
	VPBROADCASTQ 56(DI), Z7
	VPBROADCASTQ 64(DI), Z8
	VPBROADCASTQ 72(DI), Z9
	VPBROADCASTQ 80(DI), Z10
	VPBROADCASTQ 88(DI), Z11
	VPBROADCASTQ 96(DI), Z12
	VPBROADCASTQ 104(DI), Z13
	VPBROADCASTQ 112(DI), Z14
	VPBROADCASTQ 120(DI), Z15
	SUBQ $1, R13
	JGE fill

	// Sixteen positions: (R9) the bytes that come in, (R10) those that leave.
roll:
	VMOVDQA64 Z23, Z24
	VMOVDQA64 (R10), Z25
	PLANE(Z6, Z13, Z22, Z23)
	PLANE(Z5, Z12, Z21, Z22)
	PLANE(Z4, Z11, Z20, Z21)
	PLANE(Z3, Z10, Z19, Z20)
	PLANE(Z2, Z9, Z18, Z19)
	PLANE(Z1, Z8, Z17, Z18)
	PLANE(Z0, Z7, (R9), Z17)
	VGF2P8AFFINEQB $0, Z14, Z23, Z26
	VGF2P8AFFINEQB $0, Z15, Z23, Z28
	VPXORQ Z17, Z26, Z26
	VPTERNLOGD $0xf6, Z18, Z28, Z26 // Z26 | (Z28 ^ Z18)
	VPMINUB Z26, Z27, Z27
	ADDQ $64, R9
	ADDQ $64, R10
	SUBQ $1, R8
	JNE roll
	SUBQ $1, CX
	JNE group

	// Byte 4·r+c belongs to lane r+16·c: bring them into order.
	VMOVDQU64 192(DI), Z31
	VPERMB Z27, Z31, Z27
	VPTESTNMB Z27, Z27, K1
	KMOVQ K1, ret+32(FP)
	VZEROUPPER
	RET

	// The same while the window is filled: nothing leaves, nothing is tested.
fill:
	VMOVDQA64 Z23, Z24
	FIRST(Z6, Z22, Z23)
	FIRST(Z5, Z21, Z22)
	FIRST(Z4, Z20, Z21)
	FIRST(Z3, Z19, Z20)
	FIRST(Z2, Z18, Z19)
	FIRST(Z1, Z17, Z18)
	FIRST(Z0, (R9), Z17)
	ADDQ $64, R9
	SUBQ $1, R8
	JNE fill
	SUBQ $1, CX
	JMP group

