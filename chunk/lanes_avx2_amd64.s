#include "textflag.h"

// What is computed here, and why: lanes_amd64.go. Offsets in nibbleTables: overflow 0, out 224, excess 448, low 480, zip
// 496, gather 512; a plane has 32 bytes, 16 for the low and 16 for the high half of a byte.

// Two lanes of eight bytes each, interleaved: lanes r and r+8, and in the upper half r+16 and r+24.
#define ROW(X, Y) \
	VMOVQ (R8), X           \
	VMOVQ (R9), X15         \
	VPUNPCKLBW X15, X, X    \
	VMOVQ (R10), X15        \
	VPINSRQ $1, (R11), X15, X15 \
	VPSHUFB 496(DI), X15, X15 \
	VINSERTI128 $1, X15, Y, Y \
	ADDQ DX, R8             \
	ADDQ DX, R9             \
	ADDQ DX, R10            \
	ADDQ DX, R11

// Exchange of two rows, by the low and high halves of each 128 bits.
#define WORDS(A, B) VPUNPCKLWD B, A, Y15; VPUNPCKHWD B, A, B; VMOVDQA Y15, A
#define DWORDS(A, B) VPUNPCKLDQ B, A, Y15; VPUNPCKHDQ B, A, B; VMOVDQA Y15, A
#define QWORDS(A, B) VPUNPCKLQDQ B, A, Y15; VPUNPCKHQDQ B, A, B; VMOVDQA Y15, A

// One plane of a step. The halves of T are in Y7 and Y8, those of the byte that leaves in Y9 and Y10.
#define PLANE(M, O, BELOW, P) \
	VBROADCASTI128 (M)(DI), Y11   \
	VBROADCASTI128 (M+16)(DI), Y12 \
	VPSHUFB Y7, Y11, Y11           \
	VPSHUFB Y8, Y12, Y12           \
	VPXOR Y11, Y12, Y11            \
	VPXOR Y11, BELOW, P            \
	VBROADCASTI128 (O)(DI), Y11   \
	VBROADCASTI128 (O+16)(DI), Y12 \
	VPSHUFB Y9, Y11, Y11           \
	VPSHUFB Y10, Y12, Y12          \
	VPXOR Y11, Y12, Y11            \
	VPXOR Y11, P, P

// The same without a byte that leaves.
#define FIRST(M, BELOW, P) \
	VBROADCASTI128 (M)(DI), Y11   \
	VBROADCASTI128 (M+16)(DI), Y12 \
	VPSHUFB Y7, Y11, Y11           \
	VPSHUFB Y8, Y12, Y12           \
	VPXOR Y11, Y12, Y11            \
	VPXOR Y11, BELOW, P

// The low and the high four bits of each byte.
#define HALVES(Y, LOW, HIGH) \
	VPAND Y15, Y, LOW              \
	VPSRLW $4, Y, HIGH             \
	VPAND Y15, HIGH, HIGH

// func lanesAVX2(t *nibbleTables, d *byte, stride, n int) uint64
//
// Y0…Y6 planes 0…6, Y7…Y10 halves of T and out, Y11…Y13 temporary, Y14 the smallest of what was tested, Y15
// 0x0f…; while rows are transposed they are Y7…Y14 and Y15 is temporary.
// DI t, SI first byte of lane 0, DX stride, CX groups left, BX ring and behind it Y14, AX place in the ring.
TEXT ·lanesAVX2(SB), 0, $4224-40
	MOVQ t+0(FP), DI
	MOVQ d+8(FP), SI
	MOVQ stride+16(FP), DX
	MOVQ n+24(FP), CX
	SHRQ $3, CX
	LEAQ ring-4224(SP), BX
	ADDQ $63, BX
	ANDQ $-64, BX
	XORQ AX, AX
	MOVQ $8, R13 // groups until the window is full
	VPXOR Y0, Y0, Y0
	VPXOR Y1, Y1, Y1
	VPXOR Y2, Y2, Y2
	VPXOR Y3, Y3, Y3
	VPXOR Y4, Y4, Y4
	VPXOR Y5, Y5, Y5
	VPXOR Y6, Y6, Y6
	VPCMPEQB Y14, Y14, Y14
	VMOVDQU Y14, 4096(BX)

group:
	LEAQ (DX*8), R12
	MOVQ SI, R8
	LEAQ (R8)(R12*1), R9
	LEAQ (R9)(R12*1), R10
	LEAQ (R10)(R12*1), R11
	ADDQ $8, SI
	ROW(X7, Y7)
	ROW(X8, Y8)
	ROW(X9, Y9)
	ROW(X10, Y10)
	ROW(X11, Y11)
	ROW(X12, Y12)
	ROW(X13, Y13)
	ROW(X14, Y14)

	WORDS(Y7, Y8)
	WORDS(Y9, Y10)
	WORDS(Y11, Y12)
	WORDS(Y13, Y14)
	DWORDS(Y7, Y9)
	DWORDS(Y8, Y10)
	DWORDS(Y11, Y13)
	DWORDS(Y12, Y14)
	QWORDS(Y7, Y11)
	QWORDS(Y8, Y12)
	QWORDS(Y9, Y13)
	QWORDS(Y10, Y14)

	// Y7…Y14 are columns now, in an order of their own.
	LEAQ (BX)(AX*1), R9
	VMOVDQA Y7, 0(R9)
	VMOVDQA Y11, 32(R9)
	VMOVDQA Y9, 64(R9)
	VMOVDQA Y13, 96(R9)
	VMOVDQA Y8, 128(R9)
	VMOVDQA Y12, 160(R9)
	VMOVDQA Y10, 192(R9)
	VMOVDQA Y14, 224(R9)

	MOVQ AX, R10
	XORQ $2048, R10
	ADDQ BX, R10
	ADDQ $256, AX
	ANDQ $4095, AX
	MOVQ $8, R8
	VMOVDQU 4096(BX), Y14
	VBROADCASTI128 480(DI), Y15
	HALVES(Y6, Y7, Y8)
	SUBQ $1, R13
	JGE fill

	// Eight positions: (R9) the bytes that come in, (R10) those that leave.
roll:
	VMOVDQA (R10), Y13
	HALVES(Y13, Y9, Y10)
	PLANE(192, 416, Y5, Y6)
	PLANE(160, 384, Y4, Y5)
	PLANE(128, 352, Y3, Y4)
	PLANE(96, 320, Y2, Y3)
	PLANE(64, 288, Y1, Y2)
	PLANE(32, 256, Y0, Y1)
	VMOVDQA (R9), Y13
	PLANE(0, 224, Y13, Y0)
	HALVES(Y6, Y7, Y8)
	VBROADCASTI128 448(DI), Y11
	VBROADCASTI128 464(DI), Y12
	VPSHUFB Y8, Y11, Y11
	VPSHUFB Y8, Y12, Y12
	VPXOR Y0, Y11, Y11
	VPXOR Y1, Y12, Y12
	VPOR Y11, Y12, Y11
	VPMINUB Y11, Y14, Y14
	ADDQ $32, R9
	ADDQ $32, R10
	SUBQ $1, R8
	JNE roll
	VMOVDQU Y14, 4096(BX)
	SUBQ $1, CX
	JNE group

	// Byte 2·r+b of a half belongs to its lane r+8·b: bring them into order.
	VBROADCASTI128 512(DI), Y15
	VPSHUFB Y15, Y14, Y14
	VPXOR Y13, Y13, Y13
	VPCMPEQB Y13, Y14, Y14
	VPMOVMSKB Y14, AX
	MOVQ AX, ret+32(FP)
	VZEROUPPER
	RET

	// The same while the window is filled: nothing leaves, nothing is tested.
fill:
	FIRST(192, Y5, Y6)
	FIRST(160, Y4, Y5)
	FIRST(128, Y3, Y4)
	FIRST(96, Y2, Y3)
	FIRST(64, Y1, Y2)
	FIRST(32, Y0, Y1)
	VMOVDQA (R9), Y13
	FIRST(0, Y13, Y0)
	HALVES(Y6, Y7, Y8)
	ADDQ $32, R9
	SUBQ $1, R8
	JNE fill
	SUBQ $1, CX
	JMP group
